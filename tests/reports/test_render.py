"""Tables formatted as text, and the command that prints them."""

from __future__ import annotations

import io

import pandas as pd
import pytest
from test_tables import THREE, frames, run

from rankprobe.cli.table import print_table
from rankprobe.errors import RankprobeError
from rankprobe.reports import TABLES, render

TWO = [run(last=50.0, baseline=48.214), run(model="t5_x", model_label="t5_x", last=61.5, prompt_length=100)]


def test_terminal():
    assert render(TABLES["table3"](frames(*THREE))) == (
        "After Table 3 of Xiao et al. (2023): sample standard deviations (n − 1) over seeds of dev scores after the "
        "last step, in percent; prompts of 100 tokens (dpt: bottleneck 10).\n"
        "\n"
        "method    score       WSC     WiC    BoolQ      CB    COPA    MultiRC    ReCoRD     RTE\n"
        "                     Acc.    Acc.     Acc.    Acc.    Acc.         F1        F1    Acc.\n"
        "--------  -------  ------  ------  -------  ------  ------  ---------  --------  ------\n"
        "t5-base, SuperGLUE\n"
        "vanilla   last          -       -        -   13.11       -          -         -       -\n"
        "vanilla   paper      1.10    6.30     0.01    1.02    1.15       0.24      0.09    0.20\n"
        "\n"
        "t5-base, SuperGLUE: fewer than two seeds of vanilla on WSC, WiC, BoolQ, COPA, MultiRC, ReCoRD, RTE; "
        "residual, dpt on all tasks\n"
        "t5-base, SuperGLUE: 3 seeds a cell\n"
        "paper: as printed by Xiao et al. (2023), three runs a cell of prompt methods, of the best step, and ours of the last\n"
    )


def test_markdown():
    text = render(TABLES["table1"](frames(*TWO)), "markdown").splitlines()
    assert [line.replace(" ", "") for line in text[2:10]] == [
        "|method|score|trained|WSCAcc.|WiCAcc.|BoolQAcc.|CBAcc.|COPAAcc.|MultiRCF1|ReCoRDF1|RTEAcc.|Avg.|",
        "|:---------|:--------|----------:|-----------:|-----------:|-------------:|----------:|------------:"
        "|-------------:|------------:|-----------:|-------:|",
        "|**t5-base,SuperGLUE**||||||||||||",
        "|vanilla|last|76,800|-|-|-|50.00|-|-|-|-|50.00|",
        "|vanilla|paper|77K|64.74|59.97|62.18|70.23|56.33|72.69|71.84|56.43|-|",
        "|baseline||-|-|-|-|48.21|-|-|-|-|48.21|",
        "|**t5_x,SuperGLUE**||||||||||||",
        "|vanilla|last|76,800|-|-|-|61.50|-|-|-|-|61.50|",
    ]
    assert {line.count("|") for line in text if line.startswith("|")} == {13}
    assert text[12].startswith("- t5-base, SuperGLUE: no finished run of ")


def test_latex():
    lines = render(TABLES["table1"](frames(*TWO)), "latex").splitlines()
    assert lines[:2] == ["\\begin{table}", "\\centering"]
    assert lines[2].startswith("\\caption{After Table 1 of Xiao et al. (2023): means over seeds of ")
    assert lines[3:5] == ["\\begin{tabular}{llrrrrrrrrrr}", "\\toprule"]
    body = [" ".join(line.split()) for line in lines[5:]]
    assert body == [
        "method & score & trained & WSC Acc. & WiC Acc. & BoolQ Acc. & CB Acc. & COPA Acc. & MultiRC F1 & ReCoRD F1 "
        "& RTE Acc. & Avg. \\\\",
        "\\midrule",
        "\\multicolumn{12}{l}{t5-base, SuperGLUE} \\\\",
        "vanilla & last & 76,800 & - & - & - & 50.00 & - & - & - & - & 50.00 \\\\",
        "vanilla & paper & 77K & 64.74 & 59.97 & 62.18 & 70.23 & 56.33 & 72.69 & 71.84 & 56.43 & - \\\\",
        "baseline & & - & - & - & - & 48.21 & - & - & - & - & 48.21 \\\\",
        "\\midrule",
        "\\multicolumn{12}{l}{t5\\_x, SuperGLUE} \\\\",
        "vanilla & last & 76,800 & - & - & - & 61.50 & - & - & - & - & 61.50 \\\\",
        "baseline & & - & - & - & - & 48.00 & - & - & - & - & 48.00 \\\\",
        "\\bottomrule",
        "\\end{tabular}",
        "\\end{table}",
    ]
    assert "t5_x" not in "\n".join(lines)


def test_pandas_reads_the_csv():
    text = render(TABLES["table1"](frames(*TWO)), "csv")
    assert text.splitlines()[:2] == [
        "model,data,method,score,trained,WSC Acc.,WiC Acc.,BoolQ Acc.,CB Acc.,COPA Acc.,MultiRC F1,ReCoRD F1,RTE Acc.,Avg.",
        "t5-base,SuperGLUE,vanilla,last,76800,,,,50.00,,,,,50.00",
    ]
    assert pd.read_csv(io.StringIO(text))["CB Acc."].tolist() == [50.0, 70.23, 48.21, 61.5, 48.0]


def test_print_table(tmp_path, capsys):
    print_table(frames(run()), "table1", where=["learning-rate=0.3", "learning-rate=1"])
    printed = capsys.readouterr().out
    assert printed == render(TABLES["table1"](frames(run())))
    path = tmp_path / "new" / "table.md"
    print_table(frames(run()), "table2", "markdown", output=path)
    assert capsys.readouterr().out == f"{path}\n"
    assert path.read_text() == render(TABLES["table2"](frames(run())), "markdown")
    assert "CB" in path.read_text()
    with pytest.raises(RankprobeError, match="table.md' exists; choose another name$"):
        print_table(frames(run()), "table2", output=path)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": "table5"}, "^unknown table 'table5'; did you mean 'table4'"),
        ({"name": "table1", "format": "latx"}, "^unknown format 'latx'; did you mean 'latex'"),
        (
            {"name": "table1", "where": ["steps"]},
            "^--where is 'steps'; expected SETTING=VALUE, such as --where learn",
        ),
        ({"name": "table1", "where": ["=3"]}, "^--where is '=3'; expected"),
        ({"name": "table1", "where": ["steps="]}, "^--where is 'steps='; expected"),
    ],
)
def test_bad_arguments_are_refused(arguments, message):
    with pytest.raises(RankprobeError, match=message):
        print_table(frames(run()), **arguments)


NAME = "50%_$x$|*b*\\~[i]\n<σ>"
"""A name with special characters that a user may give to data or weights."""


@pytest.mark.parametrize(
    ("format", "escaped"),
    [
        ("terminal", "50%_$x$|*b*\\~[i]\\n<σ>"),
        ("markdown", r"50%\_\$x\$\|\*b\*\\\~\[i\]\\n\<σ\>"),
        (
            "latex",
            r"50\%\_\$x\$|{*}b{*}\textbackslash{}\textasciitilde{}{[}i{]}\textbackslash{}n"
            r"\ensuremath{<}\ensuremath{\sigma}\ensuremath{>}",
        ),
    ],
)
def test_names_are_shown_literally(format, escaped):
    scores = render(TABLES["table1"](frames(run(model=NAME, model_label=NAME))), format)
    heading = next(line for line in scores.splitlines() if f"{escaped}, SuperGLUE" in line)
    assert f"{escaped}, SuperGLUE: 1 seed a cell" in scores
    rows = render(TABLES["table2"](frames(run(data_label=NAME))), format).splitlines()
    (row,) = [line for line in rows if "hub" in line]
    assert row.strip("| ").startswith(escaped)
    if format == "markdown":
        cells = [line.replace(r"\|", "").count("|") for line in scores.splitlines() if line.startswith("|")]
        assert heading.startswith("| **")
        assert set(cells) == {13}
