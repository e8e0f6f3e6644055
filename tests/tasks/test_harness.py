"""Task files of lm-eval: prompts are those that lm-eval renders, row by row; what does not map is named."""

from __future__ import annotations

import json

import jinja2
import pytest

from rankprobe.bundled import FOLDER
from rankprobe.cli import main
from rankprobe.errors import RankprobeError
from rankprobe.tasks import get_task, load_split

CB = r"""tag:
  - super-glue-lm-eval-v1
task: cb
dataset_path: aps/super_glue
dataset_name: cb
output_type: multiple_choice
training_split: train
validation_split: validation
doc_to_text: "{{premise}}\nQuestion: {{hypothesis}}. True, False, or Neither?\nAnswer:"
doc_to_target: label
doc_to_choice: ['True', 'False', 'Neither']
metric_list:
  - metric: acc
  - metric: f1
    aggregation: !function "aggregate.cb_multi_fi"
metadata:
  version: 1.0
"""
RTE = r"""tag: glue
task: rte
dataset_path: nyu-mll/glue
dataset_name: rte
output_type: multiple_choice
training_split: train
validation_split: validation
doc_to_text: "{{sentence1}}\nQuestion: {{sentence2}} True or False?\nAnswer:"
doc_to_target: label
doc_to_choice: ["True", "False"]
metric_list:
  - metric: acc
metadata:
  version: 1.0
"""
"""Both as in lm-eval 0.4.13: tasks/super_glue/cb/default.yaml and tasks/glue/rte/default.yaml."""
NAMES = {"cb": ("CB", {}, ("entailment", "contradiction", "neutral")),
         "rte": ("RTE", {"premise": "sentence1", "hypothesis": "sentence2"}, ("entailment", "not_entailment"))}  # fmt: skip
ENVIRONMENT = jinja2.Environment(undefined=jinja2.StrictUndefined, keep_trailing_newline=True)
"""As `env` of lm_eval/utils.py."""


def hub_rows(task: str, split: str) -> list[dict]:
    """Rows with the columns of the data set that the file of lm-eval names; the label is a class id."""
    folder, renamed, labels = NAMES[task]
    rows = [json.loads(line) for line in (FOLDER / folder / f"{split}.jsonl").read_text().splitlines()]
    return [
        {
            renamed.get(key, key): labels.index(value) if key == "label" else value
            for key, value in row.items()
        }
        for row in rows
    ]


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A folder with both files, each with its rows beside it."""
    for task, text in (("cb", CB), ("rte", RTE)):
        folder = tmp_path / task
        folder.mkdir()
        (folder / f"{task}.yaml").write_text(text)
        for split, name in (("train", "train"), ("val", "validation")):
            lines = [json.dumps(row) for row in hub_rows(task, split)]
            (folder / f"{name}.jsonl").write_text("\n".join(lines))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(("name", "text"), [("cb", CB), ("rte", RTE)])
def test_prompts_and_answers_are_those_of_lm_eval(place, name, text):
    task = get_task(f"{name}/{name}.yaml")
    template = text.split('doc_to_text: "')[1].split('"\n')[0].replace("\\n", "\n")
    choices = list(task.answer_set("words"))
    assert choices == [*(["True", "False", "Neither"] if name == "cb" else ["True", "False"])]
    for split, file in (("train", "train"), ("validation", "val")):
        examples, rows = load_split(task, split, None).examples, hub_rows(name, file)
        assert len(examples) == len(rows)
        for example, row in zip(examples, rows, strict=True):
            assert task.source(example.fields) == ENVIRONMENT.from_string(template).render(**row)
            assert task.target(example, "digits") == choices[row["label"]]


def test_a_run_trains_on_it_and_names_the_keys_without_effect(place, capsys):
    for words in (
        ["tasks", "show", "cb/cb.yaml"],
        ["probe", "--task", "cb/cb.yaml", "--steps", "1", "--prompt-length", "4"],
    ):
        with pytest.raises(SystemExit) as stop:
            main(words)
        assert not stop.value.code
        printed = capsys.readouterr().out
        assert "keys of lm-eval without effect here: metric_list" in printed
        assert "cb" in printed
    assert "cb from file, 250 train, 56 dev" in printed


def write(place, **changes):
    keys = {"doc_to_text": "'q: {{q}}'", "doc_to_target": "a"} | changes
    text = "\n".join(f"{key}: {value}" for key, value in keys.items() if value is not None)
    (place / "own.yaml").write_text(text)
    return place / "own.yaml"


@pytest.mark.parametrize(
    ("text", "row", "expected"),
    [
        ("'{{q}}'", {"q": "x"}, "x"),
        ("q", {"q": "x"}, "x"),
        ("'{a} {{ q }}} {# none #}{{- r }}'", {"q": "x", "r": "y"}, "{a} x} y"),
        ("'{% raw %}{{q}}{% endraw %}{{q}}'", {"q": "x"}, "{{q}}x"),
        ("'{{q}} {{r}}'", {"q": 3, "r": True}, "3 True"),
        ('"{{q}}\\n"', {"q": "x"}, "x\n"),
    ],
)
def test_templates_of_text_and_fields_render_as_in_lm_eval(place, text, row, expected):
    import yaml

    path = write(place, doc_to_text=text)
    (place / "train.jsonl").write_text(json.dumps(row | {"a": "b"}))
    task = get_task(str(path))
    (example,) = load_split(task, "train", None).examples
    assert task.source(example.fields) == expected
    given = yaml.safe_load(text)
    if given != "q":
        assert ENVIRONMENT.from_string(given).render(**row) == expected
    assert task.target(example, "words") == "b"


def test_rows_are_those_of_data_files_and_a_description_goes_first(place):
    files = "{data_files: {fit: [a.jsonl], check: b.jsonl}}"
    path = write(place, dataset_path="json", dataset_kwargs=files, training_split="fit", validation_split="check",
                 description="Answer", doc_to_choice="[no, maybe]", output_type="multiple_choice")  # fmt: skip
    (place / "a.jsonl").write_text('{"q": "x", "a": 1}\n{"q": "y", "a": "no1"}')
    path.write_text(path.read_text().replace("[no,", "['no1',"))
    task = get_task(str(path))
    examples = load_split(task, "train", None).examples
    assert [(task.source(e.fields), task.target(e, "words")) for e in examples] == [
        ("Answerq: x", "maybe"),
        ("Answerq: y", "no1"),
    ]
    with pytest.raises(
        RankprobeError, match=r"b.jsonl: no such file; task 'own' names it for its validation rows"
    ):
        load_split(task, "validation", None)
    (place / "a.jsonl").write_text('{"q": "x", "a": 2}')
    with pytest.raises(RankprobeError, match="a.jsonl:1: field 'a' is 2; expected one of 0, 1"):
        load_split(task, "train", None)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"doc_to_text": None}, "doc_to_text is None; expected text with fields as {{name}}"),
        ({"doc_to_text": "text only"}, "doc_to_text has no fields; expected one or more, as in {{premise}}"),
        ({"doc_to_text": "!function utils.text"}, "doc_to_text is !function utils.text; expected text"),
        ({"doc_to_text": "'{{q|upper}}'"}, "only text and fields as {{name}} map, no filters or statements"),
        ({"doc_to_text": "'{{q.__class__}}'"}, "only text and fields as {{name}} map"),
        ({"doc_to_text": "'{% if q %}{{q}}{% endif %}'"}, "only text and fields as {{name}} map"),
        ({"doc_to_text": "'{{q'"}, "doc_to_text is no template (unexpected end of template"),
        ({"doc_to_target": "'{{a}} {{b}}'"}, "doc_to_target is '{{a}} {{b}}'; expected the name of a field"),
        ({"doc_to_target": "0"}, "doc_to_target is 0; expected text"),
        ({"doc_to_choice": "[a]", "output_type": "multiple_choice"}, "doc_to_choice is ['a']; expected a list of two or more"),
        ({"doc_to_choice": "'{{[x, y]}}'", "output_type": "multiple_choice"}, "doc_to_choice is '{{[x, y]}}'; expected a list"),
        ({"doc_to_choice": "[a, b]"}, "output_type is 'generate_until' and there is a doc_to_choice; expected multiple_choice"),
        ({"output_type": "loglikelihood"}, "output_type is 'loglikelihood' and there is no doc_to_choice; expected generate_until"),
        ({"process_docs": "!function utils.docs"}, "process_docs does not map; write the task as a TOML file"),
        ({"include": "other.yaml"}, "include does not map"),
        ({"dataset_kwargs": "{data_files: {train: a.jsonl}}"}, "expected one file for 'validation'"),
        ({"task": "[a, b]"}, "task is ['a', 'b']; expected a name"),
        ({"task": "&x [1]", "tag": "*x"}, "it has an alias (*name); write the value out"),
        ({"task": "!!python/object/apply:os.getcwd []"}, "is not YAML of lm-eval"),
    ],
)  # fmt: skip
def test_what_does_not_map_is_named(place, changes, message):
    path = write(place, **changes)
    with pytest.raises(RankprobeError) as caught:
        get_task(str(path))
    assert message in str(caught.value)
    assert str(path) in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1
