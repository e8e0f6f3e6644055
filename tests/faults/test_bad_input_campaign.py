"""Whatever is wrong with the input: one or two clear lines, the documented exit code, and nothing written."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import bad_files
import pytest

from rankprobe.cli import main

REFUSED = [
    # names and flags
    ("prob", "error: No such command 'prob'"),
    ("probe extra", "error: Got unexpected extra argument(s) (extra)"),
    ("probe --bottleneck 5", "error: No such option: --bottleneck"),
    ("probe --learning-rat 5", "error: No such option: --learning-rat"),
    ("probe --task cbb", "error: unknown task 'cbb'; did you mean 'cb'? (valid: boolq, cb, copa, multirc, record, rte, wic, wsc)"),
    ("train --method dptt", "error: unknown method 'dptt'; did you mean 'dpt'? (valid: dept, dpt, finetune, probe, residual, subspace, ulpt, vanilla)"),
    ("train --method vanilla --bottleneck 5", "error: method 'vanilla' has no 'bottleneck'; methods that have it: dpt"),
    ("probe --model random:t5-smal", "error: unknown model 'random:t5-smal'; did you mean 'random:t5-small'? (valid: random:t5-base, random:t5-large, random:t5-small, random:tiny)"),
    ("probe --model t5-base", "error: model 't5-base' is not in the cache and the hub cannot be reached ("),
    ("probe --model random:t5-small", "give one: --tokenizer FOLDER (or a hub id)"),
    ("probe --targets letters", "error: targets is 'letters'; expected digits, words, or 3 different words with commas between, for entailment, contradiction, neutral"),
    ("probe --targets=", "error: targets is ''; expected digits, words, or 3 different words"),
    ("probe --task wsc --answers rank", "error: WSC has no set of answers to rank; use --answers greedy"),
    ("probe --shots 251", "error: shots is 251, and there are 250 training examples"),
    ("probe --balanced", "error: balanced says how shots are drawn, and there are none; give --shots too"),
    ("probe --prompt-length 0", "error: prompt_length is 0; expected greater than 0"),
    ("probe --prompt-length -3", "error: prompt_length is -3; expected greater than 0"),
    ("train --method dpt --bottleneck 0", "error: bottleneck is 0; expected greater than 0"),
    ("probe --steps 0", "error: steps is 0; expected greater than 0"),
    ("probe --steps many", "error: Invalid value for '--steps'"),
    ("probe --epochs -1", "error: epochs is -1; expected greater than 0"),
    ("probe --batch-size 0", "error: batch_size is 0; expected greater than 0"),
    ("probe --eval-every 0", "error: eval_every is 0; expected greater than 0"),
    ("probe --max-source-length 0", "error: max_source_length is 0; expected greater than 0"),
    ("probe --learning-rate nan", "error: learning_rate is nan; expected a finite number"),
    ("probe --learning-rate inf", "error: learning_rate is inf; expected a finite number"),
    ("probe --warmup 2", "error: warmup is 2.0; expected less than or equal to 1"),
    ("probe --clip-norm 0", "error: clip_norm is 0.0; expected greater than 0"),
    ("probe --factor-scale 0", "error: factor_scale is 0.0; expected greater than 0"),
    ("probe --seed -1", "error: seed is -1; expected greater than or equal to 0"),
    ("probe --model-seed 99999999999999999999", "error: model_seed is 99999999999999999999; expected less than 18446744073709551616"),
    ("probe --sigma-init twos", "error: sigma_init is 'twos'; expected 'ones', 'uniform' or 'half-normal'"),
    ("probe --rank 101", "error: rank is 101, but P is 100 x 128 (prompt_length x width of the backbone); give a rank of at most 100"),
    ("probe --dtype float16", "error: dtype is 'float16': float16 overflows in T5's feed-forward layers and gives NaN; use bfloat16 or float32"),
    ("probe --device cuda:99", "error: device 'cuda:99' cannot be used"),
    ("probe --device meta", "error: device 'meta' cannot be used (expected one of auto, cpu, cuda, mps)"),
    ("probe --device gpu", "error: device 'gpu' cannot be used"),
    ("probe --device-map half", "error: device_map is 'half'; expected auto, balanced, balanced_low_0, sequential, or limits such as"),
    ("probe --resume --overwrite", "error: --resume and --overwrite exclude each other; give one"),
    ("probe --name a --seed 1 --seed 2", "error: --name a fits one run, and there are 2 seeds; leave it out"),
    ("probe --name taken", "error: runs/taken exists and is no run folder; choose another --name or --runs-dir"),
    ("probe --name ../escape", "error: run name '../escape' is no plain folder name"),
    ("probe --name right --resume --seed 3", "error: runs/right was started with seed 42, not 3; resume it with its own settings"),
    ("tasks show cbb", "error: unknown task 'cbb'; did you mean 'cb'?"),
    ("tasks shw", "error: No such command 'shw'. Did you mean 'show'?"),
    ("tasks show cb --data none", "error: data 'none' is no folder"),
    ("tasks show cb --targets a,b", "error: targets is 'a,b'; expected digits, words, or 3 different words"),
    ("tasks show cb --tokenizer tokenizer/empty", "error: tokenizer 'tokenizer/empty' is no folder with a tokenizer_config.json"),
    ("data", "error: Missing command"),
    ("data fetch --task cbb", "error: unknown task 'cbb'; did you mean 'cb'?"),
    ("data fetch --task cb", "give a local folder: --data FOLDER with CB/train.jsonl and val.jsonl"),
    ("methods dpt", "error: Got unexpected extra argument(s) (dpt)"),
    ("env --all", "error: No such option: --all"),
    # configs
    ("probe --config none.toml", "error: config 'none.toml' cannot be read (No such file or directory)"),
    ("probe --config a_folder", "error: config 'a_folder' cannot be read (Is a directory)"),
    ("probe --config config/syntax.toml", "error: config 'config/syntax.toml' is no TOML: Invalid value (at line 1, column 8)"),
    ("probe --config config/twice.toml", "error: config 'config/twice.toml' is no TOML: Cannot overwrite a value"),
    ("probe --config config/latin.toml", "error: config 'config/latin.toml' is no TOML: 'utf-8' codec can't decode byte 0xe9"),
    ("probe --config config/nul.toml", "error: config 'config/nul.toml' is no TOML"),
    ("probe --config config/binary.toml", "error: config 'config/binary.toml' is no TOML"),
    ("probe --config config/deep.toml", "error: config 'config/deep.toml' is no TOML: maximum recursion depth exceeded"),
    ("probe --config config/digits.toml", "error: config 'config/digits.toml' is no TOML: Exceeds the limit"),
    ("probe --config config/key.toml", "error: unknown setting 'learning_rat'; did you mean 'learning_rate'?"),
    ("train --config config/method.toml", "error: method 'vanilla' has no 'bottleneck'; methods that have it: dpt"),
    ("train --config config/name.toml", "error: unknown method '3'"),
    ("probe --config config/kind.toml", "error: seed is 'three'; expected a valid integer"),
    ("probe --config config/list.toml", "error: epochs is [1, 2]; expected a valid integer"),
    ("probe --config config/nan.toml", "error: learning_rate is nan; expected a finite number"),
    ("probe --config config/flat.toml", "error: learning_rate = 3 belongs in the table [training], as learning_rate = 3"),
    ("probe --config config/section.toml", "error: training is 3; expected a table [training]"),
    ("probe --config config/tables.toml", "belongs in the table [task]"),
    # sweeps
    ("sweep", "error: Missing argument 'spec'"),
    ("sweep none.toml", "error: experiment 'none.toml' cannot be read (No such file or directory)"),
    ("sweep taken.toml", "error: experiment 'taken.toml' cannot be read (Is a directory)"),
    ("sweep spec/empty.toml", "error: experiment 'spec/empty.toml': title is missing"),
    ("sweep spec/key.toml", "error: experiment 'spec/key.toml': unknown setting 'grids'; did you mean 'grid'?"),
    ("sweep spec/kind.toml", "error: experiment 'spec/kind.toml': title is 3; expected a valid string"),
    ("sweep spec/grid.toml", "error: experiment 'spec/grid.toml': grid is {'seed': 1}; expected a valid list"),
    ("sweep spec/latin.toml", "error: experiment 'spec/latin.toml' is no TOML: 'utf-8' codec can't decode"),
    ("sweep spec/deep.toml", "error: experiment 'spec/deep.toml' is no TOML: maximum recursion depth exceeded"),
    ("sweep spec/axis.toml", "error: seed = [] has no values; give one or more"),
    ("sweep spec/value.toml", "error: steps is 0; expected greater than 0"),
    ("sweep spec/setting.toml", "error: unknown setting 'sede'; did you mean 'seed'?"),
    ("sweep spec/scales.toml", "error: 'x' has the scales a, b; choose one with --scale"),
    ("sweep spec/task.toml", "error: unknown task 'cbb'; did you mean 'cb'?"),
    ("sweep spec/right.toml --scale papr", "error: unknown scale 'papr'"),
    ("sweep spec/right.toml --shard 3/2", "error: shard is '3/2'; expected i/n with i from 1 to n, such as 1/4"),
    ("sweep spec/right.toml --engine rya", "error: unknown engine 'rya'; did you mean 'ray'?"),
    ("sweep spec/right.toml --set seed", "error: --set is 'seed'; expected NAME=VALUE, such as --set seed=1"),
    ("sweep spec/right.toml --set sed=1", "error: unknown setting 'sed'; did you mean 'seed'?"),
    ("sweep spec/right.toml --cohort 0", "error: Invalid value for '--cohort'"),
    # tasks of one's own
    ("probe --task none.toml", "error: task 'none.toml' cannot be read (No such file or directory)"),
    ("probe --task taken.toml", "taken.toml' cannot be read (Is a directory)"),
    ("probe --task none/", "error: task 'none/' is no folder and no TOML file; see: rankprobe tasks"),
    ("probe --task task/empty.toml", "task/empty.toml: template is missing"),
    ("probe --task task/syntax.toml", "task/syntax.toml' is no TOML: Expected '=' after a key"),
    ("probe --task task/latin.toml", "task/latin.toml' is no TOML: 'utf-8' codec can't decode"),
    ("probe --task task/kind.toml", "task/kind.toml: target is 3; expected a valid string"),
    ("probe --task task/key.toml", "task/key.toml: unknown setting 'label'; did you mean 'labels'?"),
    ("probe --task task/fields.toml", "task/fields.toml: template 't: text' names no fields, as in 'premise: {premise}'"),
    ("probe --task task/brace.toml", "task/brace.toml: template 't: {text' is no template (expected '}' before end of string)"),
    ("probe --task task/spec.toml", "task/spec.toml: template 't: {text:d}' is no template (Unknown format code 'd'"),
    ("probe --task task/long.toml", "error: unknown long_field 'txt'; did you mean 'text'?"),
    ("probe --task task/metric.toml", "error: unknown metric 'acuracy'; did you mean 'accuracy'?"),
    ("probe --task task/one.toml", "task/one.toml: [labels] has ('bad',); expected two or more different answers"),
    ("probe --task task/gone.toml", "task/gone.csv: no such file; task 'gone' names it as its train rows"),
    ("probe --task task/other.toml", "task/train.tsv: unknown format; expected one of .jsonl, .csv, .parquet"),
    ("probe --task task/label.toml", "task/train.csv:2: field 'stars' is '2'; expected one of 3, 4"),
    ("probe --task task/half", "task/half' has no validation rows; expected val.jsonl, .csv or .parquet"),
    ("probe --task task/blank", "blank/train.jsonl:1: field 'target' is ''; expected text, or a list of texts"),
    ("tasks show a_folder", "a_folder' has no train rows; expected train.jsonl, .csv or .parquet"),
    # rows
    ("probe --data hub", "give a local folder: --data FOLDER with CB/train.jsonl and val.jsonl"),
    ("probe --data ./none", "error: data 'none' is no folder; give 'bundled', 'hub', or a folder that holds CB/train.jsonl"),
    ("probe --data a_folder", "layout of the official SuperGLUE release"),
    ("probe --data jsonl/directory", "error: no train.jsonl for CB in"),
    ("probe --data jsonl/empty", "train.jsonl: no rows; expected CB examples"),
    ("probe --data jsonl/blank", "train.jsonl: no rows; expected CB examples"),
    ("probe --data jsonl/field", "train.jsonl:2: no field 'premise'; CB rows need premise, hypothesis, label, and this one has hypothesis, label"),
    ("probe --data jsonl/label", "train.jsonl:2: label 'perhaps' is not one of CB's: 'entailment' (0), 'contradiction' (1), 'neutral' (2)"),
    ("probe --data jsonl/float", "train.jsonl:2: label 0.5 is not one of CB's"),
    ("probe --data jsonl/secret", "train.jsonl:2: label -1 is not one of CB's"),
    ("probe --data jsonl/number", "train.jsonl:2: field 'premise' is 3; expected text"),
    ("probe --data jsonl/none", "train.jsonl:2: field 'hypothesis' is None; expected text"),
    ("probe --data jsonl/half", "train.jsonl:2: field 'premise' is '\\ud800'; expected text"),
    ("probe --data jsonl/newline", "train.jsonl:2: no field 'premise'; CB rows need premise, hypothesis, label, and this one has 'pre\\nmise'"),
    ("probe --data jsonl/torn", "train.jsonl:2: not a line of JSON in UTF-8 ("),
    ("probe --data jsonl/list", "train.jsonl:2: expected an object with fields, got list"),
    ("probe --data jsonl/scalar", "train.jsonl:2: expected an object with fields, got int"),
    ("probe --data jsonl/latin", "train.jsonl:2: not a line of JSON in UTF-8 ('utf-8' codec can't decode"),
    ("probe --data jsonl/binary", "train.jsonl:2: not a line of JSON in UTF-8 ("),
    ("probe --data jsonl/deep", "train.jsonl:2: not a line of JSON in UTF-8 (maximum recursion depth exceeded"),
    ("probe --data jsonl/digits", "train.jsonl:2: not a line of JSON in UTF-8 (Exceeds the limit"),
    ("probe --data csv/empty", "train.csv: no rows; expected CB examples"),
    ("probe --data csv/header", "train.csv: no rows; expected CB examples"),
    ("probe --data csv/column", "train.csv:2: no field 'hypothesis'; CB rows need"),
    ("probe --data csv/short", "train.csv:3: not as many columns as the header has"),
    ("probe --data csv/long", "train.csv:3: not as many columns as the header has"),
    ("probe --data csv/label", "train.csv:3: label 'maybe' is not one of CB's"),
    ("probe --data csv/quote", "train.csv:3: not CSV in UTF-8 (unexpected end of data)"),
    ("probe --data csv/nul", "train.csv:3: not CSV in UTF-8 (it has a NUL byte)"),
    ("probe --data csv/latin", "train.csv:3: not CSV in UTF-8 ('utf-8' codec can't decode"),
    ("probe --data csv/field", "train.csv:3: not CSV in UTF-8 (field larger than field limit"),
    ("probe --data parquet/columns", "train.parquet row 0: no field 'premise'"),
    ("probe --data parquet/label", "train.parquet row 0: label 7 is not one of CB's"),
    ("probe --data parquet/empty", "train.parquet: no rows; expected CB examples"),
    ("probe --data parquet/truncated", "train.parquet: cannot be read as Parquet ("),
    ("probe --data parquet/flipped", "train.parquet: cannot be read as Parquet ("),
    ("probe --data parquet/text", "train.parquet: cannot be read as Parquet ("),
    ("probe --data parquet/nothing", "train.parquet: cannot be read as Parquet (Parquet file size is 0 bytes)"),
    # tokenizers and models
    ("probe --tokenizer ./gone", "error: tokenizer './gone' cannot be loaded ("),
    ("probe --tokenizer a_file", "a_file' is no folder with a tokenizer_config.json"),
    ("probe --tokenizer tokenizer/syntax", "tokenizer/syntax' cannot be loaded ("),
    ("probe --tokenizer tokenizer/shape", "tokenizer/shape' cannot be loaded ("),
    ("probe --tokenizer tokenizer/vocabulary", "tokenizer/vocabulary' cannot be loaded ("),
    ("probe --tokenizer tokenizer/list", "tokenizer/list' cannot be loaded ("),
    ("probe --tokenizer tokenizer/absent", "tokenizer/absent' cannot be loaded ("),
    ("probe --model ./none", "error: model folder './none' does not exist; give a folder or a hub id such as t5-base"),
    ("probe --model a_file", "a_file' does not exist; give a folder or a hub id"),
    ("probe --model model/empty", "model/empty' holds no language model that transformers can load"),
    ("probe --model model/syntax", "model/syntax' holds no language model that transformers can load"),
    ("probe --model model/kind", "model/kind' holds no language model that transformers can load"),
    ("probe --model model/list", "model/list' holds no language model that transformers can load"),
    ("probe --model model/odd", "model/odd' holds no language model that transformers can load"),
    ("probe --data bundled --model model/weightless", "model/weightless' holds no language model that transformers can load"),
    ("probe --data bundled --model model/torn", "model/torn' holds no language model that transformers can load"),
    ("probe --model model/bits", "model/bits' is saved in 4 or 8 bit (bitsandbytes), and a soft prompt needs weights in floating point; give "),
    ("probe --model model/bitsword", "model/bitsword' holds no language model that transformers can load"),
    ("probe --model model/startless", "model/startless' (T5ForConditionalGeneration) gives its answers no first token ("),
    # prompts in files
    ("analyze", "error: Missing argument 'prompt'"),
    ("analyze prompt/gone.npy", "error: no prompt 'prompt/gone.npy': no file or folder, no match, no run in 'runs'"),
    ("analyze prompt/*.npz", "error: no prompt 'prompt/*.npz': no file or folder, no match"),
    ("analyze a_folder", "error: no prompt at 'a_folder'; expected a run folder, a .npy or .safetensors file, or a PEFT adapter"),
    ("analyze taken", "error: no prompt at 'runs/taken'"),
    ("analyze prompt/text.txt", "error: no prompt at 'prompt/text.txt'"),
    ("analyze prompt/torn.npy", "error: 'prompt/torn.npy' cannot be read ("),
    ("analyze prompt/nothing.npy", "error: 'prompt/nothing.npy' cannot be read (No data left in file)"),
    ("analyze prompt/zip.npy", "error: 'prompt/zip.npy' cannot be read (File is not a zip file)"),
    ("analyze prompt/nul.npy", "error: 'prompt/nul.npy' cannot be read ("),
    ("analyze prompt/open.npy", "error: 'prompt/open.npy' cannot be read ("),
    ("analyze prompt/pickle.npy", "error: 'prompt/pickle.npy' cannot be read (Object arrays cannot be loaded when allow_pickle=False)"),
    ("analyze prompt/vector.npy", "error: 'vector' in 'prompt/vector.npy' is float32 (128,); expected a matrix (n, d)"),
    ("analyze prompt/cube.npy", "error: 'cube' in 'prompt/cube.npy' is float32 (1, 5, 128); expected a matrix (n, d)"),
    ("analyze prompt/complex.npy", "error: 'complex' in 'prompt/complex.npy' is complex128 (5, 128); expected a matrix"),
    ("analyze prompt/text.npy", "error: 'text' in 'prompt/text.npy' is <U1 (1, 2); expected a matrix"),
    ("analyze prompt/norows.npy", "error: 'norows' in 'prompt/norows.npy' is float32 (0, 128); expected a matrix"),
    ("analyze prompt/nan.npy", "error: 'nan' in 'prompt/nan.npy' holds NaN or infinite entries"),
    ("analyze prompt/infinite.npy", "error: 'infinite' in 'prompt/infinite.npy' holds NaN or infinite entries"),
    ("analyze prompt/huge.npy", "error: 'huge' in 'prompt/huge.npy' holds NaN or infinite entries, or some too large for float32"),
    ("analyze prompt/nothing.safetensors", "error: 'prompt/nothing.safetensors' cannot be read ("),
    ("analyze prompt/torn.safetensors", "error: 'prompt/torn.safetensors' cannot be read ("),
    ("analyze prompt/header.safetensors", "error: 'prompt/header.safetensors' cannot be read (Error while deserializing header: header too large)"),
    ("analyze prompt/shape.safetensors", "error: 'prompt/shape.safetensors' cannot be read ("),
    ("analyze prompt/dtype.safetensors", "error: 'prompt/dtype.safetensors' cannot be read ("),
    ("analyze prompt/bool.safetensors", "error: 'prompt' in 'prompt/bool.safetensors' is bool (3, 4); expected a matrix"),
    ("analyze prompt/none.safetensors", "error: no matrix in 'prompt/none.safetensors'; expected a soft prompt (n, d)"),
    ("analyze prompt/vector.safetensors", "error: no matrix in 'prompt/vector.safetensors'; expected a soft prompt (n, d)"),
    ("analyze prompt/right.npy --directions 3", "error: --directions compares prompts, and there is one; give more"),
    ("analyze prompt/right.npy prompt/wide.npy --directions 3", "error: the matrices have different widths: {'right': 128, 'wide': 4}"),
    ("analyze prompt/right.npy prompt/right.safetensors --directions 99", "error: 99 directions of a matrix (5, 128) of rank 5; expected 1 to 5"),
    ("analyze prompt/right.npy --output x.txt", "error: 'x.txt' ends in no known format; expected .csv, .parquet, .json"),
    ("analyze prompt/right.npy --output taken.csv", "error: 'taken.csv' exists; choose another name"),
    ("analyze prompt/right.npy --plot x.gif", "error: 'x.gif' ends in no known format; expected .png, .svg, .pdf"),
    ("analyze prompt/right.npy --seed -1", "error: Invalid value for '--seed'"),
    ("train --method vanilla --init saved", "error: init is 'saved' and init_from is None; --init saved and --init-from go together"),
    ("train --method vanilla --init saved --init-from prompt/gone.npy", "error: no prompt at 'prompt/gone.npy'"),
    ("train --method vanilla --init saved --init-from prompt/right.npy", "prompt/right.npy' is 5 x 128, and P is 100 x 128"),
    ("train --method vanilla --init saved --init-from prompt/two.safetensors", "prompt/two.safetensors' holds several prompts (a, b); save one of them"),
    # adapters
    ("analyze adapter/configless", "error: no prompt at 'adapter/configless'"),
    ("analyze adapter/syntax", "error: 'adapter/syntax/adapter_config.json' cannot be read ("),
    ("analyze adapter/latin", "error: 'adapter/latin/adapter_config.json' cannot be read ("),
    ("analyze adapter/deep", "error: 'adapter/deep/adapter_config.json' cannot be read ("),
    ("analyze adapter/list", "error: the adapter in 'adapter/list' is of type None; expected one of PROMPT_TUNING"),
    ("analyze adapter/kind", "error: the adapter in 'adapter/kind' is of type LORA; expected one of PROMPT_TUNING"),
    ("analyze adapter/kindless", "error: the adapter in 'adapter/kindless' is of type None"),
    ("analyze adapter/sizeless", "error: no num_virtual_tokens in 'adapter/sizeless'; expected what PEFT saves"),
    ("analyze adapter/negative", "error: no num_virtual_tokens in 'adapter/negative'; expected what PEFT saves"),
    ("analyze adapter/rows", "error: 'adapter/rows' has 5 rows of prompt, and num_virtual_tokens is 4; expected 4 or 8"),
    ("analyze adapter/weightless", "error: no weights in 'adapter/weightless'; expected adapter_model.safetensors or adapter_model.bin"),
    ("analyze adapter/key", "error: no prompt_embeddings in 'adapter/key'; expected what PEFT saves"),
    ("analyze adapter/vector", "error: 'prompt_embeddings' in 'adapter/vector' is float32 (5,); expected a matrix"),
    ("analyze adapter/scalar", "error: 'prompt_embeddings' in 'adapter/scalar' is float32 (); expected a matrix"),
    ("analyze adapter/multitask", "error: no prefix_task_cols in 'adapter/multitask'; expected what PEFT saves"),
    ("analyze adapter/factors", "in 'adapter/factors' are (5, 128), (2, 3, 1), (2, 2, 128); expected (n, d), (tasks, n, r), (tasks, r, d)"),
    ("analyze adapter/bin", "error: 'adapter/bin/adapter_model.bin' cannot be read ("),
    ("analyze adapter/short", "error: 'adapter/short/adapter_model.bin' cannot be read ("),
    ("analyze adapter/pickle", "error: 'adapter/pickle/adapter_model.bin' cannot be read (Weights only load failed"),
    # runs, and what reads them
    ("runs --runs-dir none", "error: no folder 'none' with runs; train one first: rankprobe probe"),
    ("runs --runs-dir a_file", "error: no folder 'a_file' with runs; train one first: rankprobe probe"),
    ("plot --runs-dir a_folder", "error: no logged steps to draw; train a run first: rankprobe probe"),
    ("plot fig33", "error: unknown figure 'fig33'; did you mean 'fig3'? (valid: controls, fig1, fig3,"),
    ("plot --look papr", "error: unknown look 'papr'; did you mean 'paper'?"),
    ("plot fig1 --scale papr", "error: no sweep for fig1 at scale 'papr' in runs; found: []"),
    ("plot fig1 --run gone", "error: unknown run 'gone' (valid: dept, right)"),
    ("plot --runs-dir plans", "error: plans/plans/x.plan.json cannot be read ("),
    ("plot --runs-dir planlist", "error: planlist/plans/x.plan.json cannot be read ("),
    ("plot fig1 --runs-dir manifest/syntax", "left out: manifest/syntax/run/manifest.json cannot be read ("),
    ("table tabel1", "error: unknown table 'tabel1'; did you mean 'table1'? (valid: table1, table2, table3, table4)"),
    ("table table1 --runs-dir none", "error: no folder 'none' with runs"),
    ("table table1 --runs-dir manifest/method", "left out: manifest/method/run/manifest.json: prompt_length is missing"),
    ("table table1 --where seed", "error: --where is 'seed'; expected SETTING=VALUE, such as --where learning_rate=0.3"),
    ("table table1 --where sed=1", "error: unknown setting 'sed'; did you mean 'seed'?"),
    ("table table1 --where seed=99", "error: no run has seed 99; there are: 42"),
    ("table table2 --format htm", "error: unknown format 'htm'"),
    ("table table1 --score median", "error: unknown score 'median' (valid: best, last)"),
    ("table table1 --output taken.csv", "error: 'taken.csv' exists; choose another name"),
    ("resume", "error: Missing argument 'run'"),
    ("resume nothing --runs-dir a_folder", "error: no run 'nothing': there are no runs in 'a_folder'"),
    ("resume righ", "error: unknown run 'righ'; did you mean 'right'? (valid: dept, right)"),
    ("resume manifest/syntax/run", "error: manifest/syntax/run/manifest.json cannot be read ("),
    ("resume manifest/unknown/run", "error: unknown method 'dptt'; did you mean 'dpt'?"),
    ("resume manifest/key/run", "error: unknown setting 'colour'"),
    ("resume manifest/gone/run", "error: data '/gone' is no folder; give 'bundled', 'hub', or a folder"),
    ("resume manifest/task/run", "error: unknown task 'cbb'; did you mean 'cb'?"),
    ("resume manifest/stepless/run", "error: manifest/stepless/run has no steps that can be read"),
    ("resume damaged/lost/run", "error: damaged/lost/run/evals.jsonl is missing, and its checkpoint counts on it"),
    ("resume damaged/changed/run", "error: damaged/changed/run/steps.jsonl has other rows that its checkpoint counts on"),
    ("resume damaged/steps/run", "error: damaged/steps/run has no steps that can be read"),
    ("resume damaged/checkpoint/run", "error: checkpoint damaged/checkpoint/run/checkpoint/"),
    ("probe --name run --runs-dir manifest/syntax --resume", "error: manifest/syntax/run/manifest.json cannot be read ("),
    *(
        (command, "error: manifest/object/run/manifest.json: status is missing")
        for command in (
            "resume manifest/object/run", "probe --name run --runs-dir manifest/object",
            "probe --name run --runs-dir manifest/object --resume", "eval manifest/object/run",
            "predict manifest/object/run < in/text", "neighbors manifest/object/run",
            "export manifest/object/run out", "analyze manifest/object/run", "truncate manifest/object/run",
        )
    ),
    ("resume manifest/list/run", "error: manifest/list/run/manifest.json cannot be read (it is no JSON object)"),
    ("resume manifest/deep/run", "error: manifest/deep/run/manifest.json cannot be read (maximum recursion"),
    ("resume manifest/configless/run", "error: manifest/configless/run/manifest.json: config is None"),
    ("eval manifest/strange/run", "error: manifest/strange/run/manifest.json: data is 'cb'"),
    ("analyze damaged/rows/run", "error: damaged/rows/run/steps.jsonl cannot be read (its last row is no object)"),
    ("eval", "error: Missing argument 'run'"),
    ("eval gone", "error: unknown run 'gone' (valid: dept, right)"),
    ("eval right --split test", "error: split is 'test'; expected validation or train"),
    ("eval right --task cbb", "error: unknown task 'cbb'; did you mean 'cb'?"),
    ("eval right --answers rnk", "error: answers is 'rnk'; expected 'greedy', 'rank' or 'both'"),
    ("eval right --which last", "error: which is 'last'; expected final or best"),
    ("eval right --device gpu", "error: device 'gpu' cannot be used"),
    ("eval right --split train --data jsonl/label", "train.jsonl:2: label 'perhaps' is not one of CB's"),
    ("eval manifest/unfinished/run", "error: run 'run' (interrupted) has no prompt.safetensors yet"),
    ("eval manifest/backbone/run", "error: run 'run' was trained on other weights than those of 'random:tiny' now; restore them"),
    ("eval damaged/prompt/run", "error: damaged/prompt/run/prompt.safetensors cannot be read ("),
    ("predict gone", "error: unknown run 'gone' (valid: dept, right)"),
    ("predict right < in/nothing", "error: standard input has no lines; expected a text on each"),
    ("predict right < in/blank", "error: line 2 is empty; expected a text, or a row of the task in JSON"),
    ("predict right < in/torn", "error: line 1: neither text in UTF-8 nor a row in JSON ("),
    ("predict right < in/deep", "error: line 1: neither text in UTF-8 nor a row in JSON (maximum recursion depth exceeded"),
    ("predict right < in/bytes", "error: line 1: neither text in UTF-8 nor a row in JSON ('utf-8' codec can't decode"),
    ("predict right < in/field", "error: line 1: no field 'hypothesis'; CB rows need premise, hypothesis, label"),
    ("predict right < in/number", "error: line 1: field 'premise' is 1; expected text"),
    ("predict right < in/half", "error: line 1: field 'premise' is '\\ud800'; expected text"),
    ("predict right --max-new-tokens 0 < in/text", "error: Invalid value for '--max-new-tokens'"),
    ("neighbors right --count 0", "error: Invalid value for '--count'"),
    ("neighbors right --count 9999", "error: 9999 nearest of 867 words of width 128"),
    ("neighbors right --metric dot", "error: metric is 'dot'; expected cosine or euclidean"),
    ("neighbors right --which frist", "error: which is 'frist'; expected final or best"),
    ("export right", "error: Missing argument 'place'"),
    ("export right a_file", "error: 'a_file' exists; choose another place"),
    ("export right a_file/x", "error: 'a_file/x' cannot be written ("),
    ("export right out.npz --to npy", "error: 'out.npz' does not end in .npy, so it could not be read again"),
    ("export right out --to pefd", "error: unknown format 'pefd'; did you mean 'peft'?"),
    ("export dept out", "error: run 'dept' trained more than a prompt (dept)"),
    ("export damaged/prompt/run out", "error: damaged/prompt/run/prompt.safetensors cannot be read ("),
    ("analyze damaged/spectra/run", "error: damaged/spectra/run/spectra.parquet is damaged ("),
    ("truncate right --k -1", "error: Invalid value for '--k'"),
    ("truncate right --k 99", "error: k is 8 to 99; expected 0 to 8 for a prompt (8, 128)"),
    ("truncate damaged/promptless/run", "error: run 'run' (finished) has no prompt.safetensors yet"),
    ("calibrate --seed -1", "error: Invalid value for '--seed'"),
    ("calibrate --noise 0", "error: Invalid value for '--noise'"),
    ("calibrate --steps 0", "error: Invalid value for '--steps'"),
    ("calibrate --output x.txt", "error: 'x.txt' ends in no known format"),
    ("calibrate --plot taken.png", "error: 'taken.png' exists; choose another name"),
]  # fmt: skip

SYSTEM = [
    ("probe --runs-dir a_file/runs", "error: [Errno 20] Not a directory"),
    ("plot fig1 --output a_file", "error: [Errno 17] File exists: 'a_file'"),
    ("table table2 --output a_file/x", "error: [Errno 17] File exists: 'a_file'"),
]
"""Right in themselves; it is the disk that refuses."""

LEFT_OUT = [
    *(
        (f"runs --runs-dir manifest/{name}", f"left out: manifest/{name}/run/manifest.json")
        for name in ("syntax", "empty", "object", "latin", "folder", "configless", "dataless", "strange",
                     "statusless", "method", "readings", "half")
    ),
    ("runs --runs-dir damaged/rows", "left out: damaged/rows/run/steps.jsonl cannot be read ("),
    ("runs --runs-dir damaged/jsonl", "left out: damaged/jsonl/run/steps.jsonl cannot be read ("),
    ("runs --runs-dir damaged/cut", "left out: damaged/cut/run/truncation.json cannot be read ("),
]  # fmt: skip
"""A damaged run does not keep the others from being read."""

TABLE = [(2, *row) for row in REFUSED] + [(1, *row) for row in SYSTEM] + [(0, *row) for row in LEFT_OUT]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """One folder for all rows: none may change it."""
    folder = tmp_path_factory.mktemp("bad")
    bad_files.make(folder)
    return folder


def contents(folder: Path) -> dict[Path, bytes | None]:
    return {path: path.read_bytes() if path.is_file() else None for path in folder.rglob("*")}


def test_the_inputs_are_many_and_distinct():
    assert len({command for _, command, _ in TABLE}) == len(TABLE) >= 60


@pytest.mark.filterwarnings("always")
@pytest.mark.parametrize(("code", "command", "expected"), TABLE, ids=[command for _, command, _ in TABLE])
def test_bad_input(place, monkeypatch, capsys, code, command, expected):
    monkeypatch.chdir(place)
    words, _, file = command.partition(" < ")
    stdin = io.BytesIO(Path(file).read_bytes() if file else b"")
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(stdin))
    arguments = words.split()
    if arguments[0] in ("probe", "train") and "--steps" not in arguments:
        arguments += ["--steps", "1"]  # what is let through ends soon
    before = contents(place)
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    captured = capsys.readouterr()
    assert (stop.value.code or 0) == code
    assert expected in captured.err
    lines = captured.err.strip().splitlines()
    assert all(lines)
    assert len(lines) <= 2
    assert lines[-1].startswith("error: ") == bool(code)
    assert "Traceback" not in captured.err + captured.out
    assert contents(place) == before
