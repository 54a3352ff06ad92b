"""Rows of a user's own data: every format that public data sets come in, and what is said about files that cannot be read."""

import datetime
import json
from decimal import Decimal
from pathlib import Path

import pytest

from rpecli.rows import columns, files, hub, readers
from rpecli.rows.row import DataError, Row


def pairs(path: Path, **options: str) -> list[tuple[object, object]]:
    """Input and target of every row of a file, with guessed columns."""
    rows = readers.read(path, **options)
    chosen = columns.choose(rows)
    return [chosen.values(row) for row in rows]


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


JSON_LINES = {  # a record as published, and its input and target
    "kazemnejad copy": ('{"repeat":3,"src_seq":"k m q","tgt_seq":"q m k","cat":3}', ("k m q", "q m k")),
    "kazemnejad sort": ('{"src_seq":[7,3],"tgt_seq":[3,7],"cat":2}', (["7", "3"], ["3", "7"])),
    "scan json": ('{"source":"walk twice","target":"I_WALK I_WALK","category":2}', ("walk twice", "I_WALK I_WALK")),
    "lm-eval": (
        '{"context":"Question: What is 3 plus 4?\\nAnswer:","completion":" 7"}',
        ("Question: What is 3 plus 4?\nAnswer:", " 7"),
    ),
    "ruler": ('{"index":0,"input":"find","outputs":["7421","9"],"length":4096}', ("find", ["7421", "9"])),
    "reasoning-gym": ('{"question":"legs?","answer":"16","metadata":{"source_index":1}}', ("legs?", "16")),
    "prompt": ('{"prompt":"a","completion":"b"}', ("a", "b")),
    "alpaca": ('{"instruction":"Add","input":"3 4","output":"7"}', ("Add\n3 4", "7")),
    "alpaca without input": ('{"instruction":"Say hi","input":"","output":"hi"}', ("Say hi", "hi")),
    "chat": ('{"messages":[{"role":"user","content":"3+4"},{"role":"assistant","content":"7"}]}', ("3+4", "7")),
}


@pytest.mark.parametrize("name", JSON_LINES)
def test_json_lines_of_public_data_sets_load_as_they_are(name: str, tmp_path: Path) -> None:
    record, expected = JSON_LINES[name]
    assert pairs(write(tmp_path / "a.jsonl", f"\ufeff{record}\n\n{record}\n")) == [expected] * 2


def test_a_chat_keeps_its_columns_but_those_of_another_pair(tmp_path: Path) -> None:
    from datasets import Dataset

    chat = [{"role": "user", "content": "3+4"}, {"role": "assistant", "content": "7"}]
    record = {"messages": chat, "prompt": "3+4", "completion": "7", "part": "test"}
    write(tmp_path / "a.jsonl", json.dumps(record))
    Dataset.from_list([record]).to_parquet(tmp_path / "a.parquet")
    for file in ("a.jsonl", "a.parquet"):
        assert pairs(tmp_path / file) == [("3+4", "7")]
        (row,) = readers.read(tmp_path / file)
        assert row.values == {"part": "test", "input": "3+4", "target": "7"}


def test_instructions_have_their_inputs_where_the_first_has_none(tmp_path: Path) -> None:
    records = [{"instruction": "Say hi", "input": "", "output": "hi"}, {"instruction": "Add", "input": "3 4", "output": "7"}]
    assert pairs(write(tmp_path / "a.jsonl", "\n".join(map(json.dumps, records)))) == [("Say hi\n", "hi"), ("Add\n3 4", "7")]


def test_numbers_dates_and_words_for_nothing_stay_as_they_are_written(tmp_path: Path) -> None:
    text = '{"input": 12345678901234567890123, "target": 1.50}\n{"input": "2020-01-01", "target": "NA"}\n'
    text += '{"input": "007", "target": true}'
    expected = [("12345678901234567890123", "1.50"), ("2020-01-01", "NA"), ("007", "true")]
    assert pairs(write(tmp_path / "a.jsonl", text)) == expected
    assert pairs(write(tmp_path / "a.csv", "input,target\n007,NA\nNone,null\n")) == [("007", "NA"), ("None", "null")]


def test_a_line_break_in_a_cell_stays_and_other_separators_end_no_line(tmp_path: Path) -> None:
    assert pairs(write(tmp_path / "a.csv", 'input,target\n"a\nb",c\n"x\n\ny",d\n')) == [("a\nb", "c"), ("x\n\ny", "d")]
    (tmp_path / "windows.csv").write_bytes(b'input,target\r\n"a\r\nb",c\r\n')
    assert pairs(tmp_path / "windows.csv") == [("a\nb", "c")]
    for separator in ("\u2028", "\x0c", "\x85"):
        assert pairs(write(tmp_path / "b.csv", f"input,target\na{separator}b,c\n")) == [(f"a{separator}b", "c")]
        assert pairs(write(tmp_path / "a.txt", f"a{separator}b\tc\n")) == [(f"a{separator}b", "c")]
        write(tmp_path / "a.tgt", "c\nd\n")
        assert pairs(write(tmp_path / "a.src", f"a{separator}b\nx\n")) == [(f"a{separator}b", "c"), ("x", "d")]
    assert pairs(write(tmp_path / "a.jsonl", '{"input": "a\u2028b", "target": "c\x85d"}\n')) == [("a\u2028b", "c\x85d")]


def test_a_json_object_holds_its_records_under_a_key(tmp_path: Path) -> None:
    document = {"canary": "x", "examples": [{"input": "not True is", "target": "False"}], "other": [1]}
    path = write(tmp_path / "a.json", json.dumps(document))
    assert pairs(path) == [("not True is", "False")]
    assert pairs(path, field="examples") == [("not True is", "False")]
    with pytest.raises(DataError, match=r"field=KEY \(lists: examples, other\)"):
        readers.read(path, field="rows")
    rows = write(tmp_path / "b.json", '[{"src": "a", "tgt": "b"}]')
    assert pairs(rows) == [("a", "b")]
    with pytest.raises(DataError, match="field=data is of use where the file is one object: remove it"):
        readers.read(rows, field="data")


TEXTS = {
    "scan": ("IN: jump thrice OUT: I_JUMP I_JUMP I_JUMP\n", [("jump thrice", "I_JUMP I_JUMP I_JUMP")]),
    "arithmetic": ("638+662=1300$\n1+2=3$\n", [("638+662", "1300"), ("1+2", "3")]),
    "abacus": ("51+7=85\na:12,b:7=b,a\n", [("51+7", "85"), ("a:12,b:7", "b,a")]),
    "tab": ("a b\tb a\n", [("a b", "b a")]),
    "scratchpad": (
        "Input:\n826+574\nTarget:\n<scratch>\n6+4\n</scratch>\n1 4 0 0\n",
        [("826+574", "<scratch>\n6+4\n</scratch>\n1 4 0 0")],
    ),
    "babi": (
        "1 Ann went to the hall.\n2 Where is Ann? \thall\t1\n1 Bob sat.\n2 Where is Bob?\tchair\t1\n",
        [("Ann went to the hall. Where is Ann?", "hall"), ("Bob sat. Where is Bob?", "chair")],
    ),
}


@pytest.mark.parametrize("name", TEXTS)
def test_text_files_with_a_problem_a_line_or_block_are_told_apart(name: str, tmp_path: Path) -> None:
    text, expected = TEXTS[name]
    assert pairs(write(tmp_path / "a.txt", text)) == expected


def test_parallel_files_answer_line_by_line(tmp_path: Path) -> None:
    write(tmp_path / "train.tgt", "V12 P3 K19 K19\n")
    assert pairs(write(tmp_path / "train.src", "append V12 P3 , repeat K19\n")) == [
        ("append V12 P3 , repeat K19", "V12 P3 K19 K19")
    ]
    write(tmp_path / "train.tgt", "a\nb\n")
    with pytest.raises(DataError, match=r"train.src has 1 lines, train.tgt has 2"):
        readers.read(tmp_path / "train.src")


def test_parquet_and_saved_data_sets(tmp_path: Path) -> None:
    from datasets import Dataset, DatasetDict

    data = Dataset.from_list([{"input": "3 1", "target": "1 3"}, {"input": "9 2", "target": "2 9"}])
    data.to_parquet(tmp_path / "a.parquet")
    assert pairs(tmp_path / "a.parquet") == [("3 1", "1 3"), ("9 2", "2 9")]
    DatasetDict({"train": data, "test": data.select([1])}).save_to_disk(tmp_path / "saved")
    assert hub.is_saved(tmp_path / "saved")
    splits = hub.saved(tmp_path / "saved")
    assert {name: [row.text("target") for row in rows] for name, rows in splits.items()} == {
        "train": ["1 3", "2 9"],
        "test": ["2 9"],
    }


def test_a_folder_stands_for_all_of_its_files_and_names_say_the_split(tmp_path: Path) -> None:
    for name in ("train_3digit_100", "test_5digit", "len_20"):
        write(tmp_path / f"{name}.jsonl", '{"input":"a","target":"b"}')
    found = {file.path.stem: file.split for file in files.data_files(str(tmp_path))}
    assert found == {"train_3digit_100": "train", "test_5digit": "test", "len_20": ""}
    assert [file.path.stem for file in files.data_files(str(tmp_path / "t*.jsonl"))] == ["test_5digit", "train_3digit_100"]
    write(tmp_path / "b.csv", "input,target\na,b\n")
    with pytest.raises(DataError, match=r"files of several kinds \(.csv, .jsonl\)"):
        files.data_files(str(tmp_path))


def test_a_folder_that_is_named_like_a_file_is_a_folder(tmp_path: Path) -> None:
    for name in ("train.csv", "test.csv"):
        (tmp_path / name).mkdir()
        write(tmp_path / name / "part-0.csv", "input,target\na,b\n")
    for path in (tmp_path, tmp_path / "*.csv" / "*", tmp_path / "**"):
        assert [(file.path.name, file.split) for file in files.data_files(str(path))] == [
            ("part-0.csv", "test"), ("part-0.csv", "train")
        ]  # fmt: skip
    with pytest.raises(DataError, match="no such file, folder or pattern"):
        files.data_files(str(tmp_path / "*.csv"))


def test_columns_are_given_by_name_or_by_a_pattern(tmp_path: Path) -> None:
    rows = readers.read(write(tmp_path / "a.jsonl", '{"a":27,"b":5,"sum":32,"cat":"2-by-1"}'))
    assert columns.choose(rows, "{a}+{b}", "sum").values(rows[0]) == ("27+5", "32")
    with pytest.raises(DataError, match=r"no known pair of input and target among its columns \(a, b, sum, cat\)"):
        columns.choose(rows)
    with pytest.raises(DataError, match=r"a.jsonl:1: no column 'total'; it has a, b, sum, cat"):
        columns.choose(rows, "{a}+{b}", "total").values(rows[0])
    both = [Row({"question": "q", "answer": "a", "prompt": "p", "completion": "c"}, "x.jsonl", 1)]
    with pytest.raises(DataError, match="could be question/answer or prompt/completion"):
        columns.choose(both)
    assert columns.choose(both, input="prompt") == columns.Columns("prompt", "completion")


FAULTS = {
    "a.jsonl": ('{"input":"a","target":"b"}\n{"input":\n', r"a.jsonl:2: not JSON"),
    "b.jsonl": ("[1]\n", r"b.jsonl:1: not an object with columns"),
    "c.jsonl": ('{"input":"a","target":""}\n', r"c.jsonl:1: target is empty"),
    "d.jsonl": ('{"input":"a","target":null}\n', r"d.jsonl:1: target is null: write a value, or remove the row"),
    "m.jsonl": ('{"input":5,"target":6}\n{"input":5,"target":null}\n', r"m.jsonl:2: target is null: write a value"),
    "n.json": ('[{"input":5,"target":6},{"input":null,"target":6}]', r"n.json:2: input is null: write a value"),
    "o.jsonl": ('{"messages":[{"role":"assistant","content":null}]}\n', r"o.jsonl:1: target is null"),
    "p.jsonl": ('{"input":"a","output":null,"x":"b"}\n', r"p.jsonl:1: output is null"),
    "q.jsonl": ('{"input":"a","x":null}\n', r"no known pair of input and target among its columns \(input\)"),
    "e.csv": ("input,target\na\n", r"e.csv:2: 1 cells, but the header has 2"),
    "f.csv": ('input,target\n"a,b\n', r"f.csv:2"),
    "g.csv": ("input,target\n", r"g.csv: it holds no row"),
    "h.txt": ("hello world\n", r"for running text use --task text:path="),
    "i.json": ('{"input": "a"}', r"name the key with its list of records"),
    "j.parquet": ("PAR1", r"j.parquet: not a parquet file"),
    "k.jsonl": ('{"messages":[{"role":"user","content":"x"}]}\n', r"k.jsonl:1: `messages` does not end"),
    "z.jsonl": (
        '{"messages":[{"role":"user","content":[{"type":"text","text":"a"}]},{"role":"assistant","content":"b"}]}\n',
        r"z.jsonl:1: the content of a message is not a text",
    ),
    "l.json": ("[" * 100_000, r"l.json:1: it is nested too deeply"),
    "r.csv": ("input,target,target\nabc,cba,1\n", r"r.csv:1: column 'target' is given twice: keep one, or rename the other"),
    "s.tsv": ("n\tinput\tn\ttarget\n1\ta\t2\tb\n", r"s.tsv:1: column 'n' is given twice"),
    "t.jsonl": (
        '{"input":"a","target":"b"}\n{"input":"a","target":"b","target":"c"}\n',
        r"t.jsonl:2: 'target' is given twice: keep one, or rename the other",
    ),
    "u.json": ('[{"input":"a","target":"b","input":"c"}]', r"u.json: record 1: 'input' is given twice"),
    "v.json": ('{"rows": [{"input":"a","target":"b"}], "rows": []}', r"v.json: 'rows' is given twice"),
    "w.csv": (
        "question;answer\n1,5;2\n",
        r"w.csv:1: columns seem to be separated by semicolons, but .csv is read with commas: "
        r"save it with commas, or with tabs as .tsv",
    ),
    "x.csv": ("input\ttarget\na\tb\n", r"x.csv:1: .* by tabs, but .csv is read with commas: rename it to x.tsv, or save it"),
    "y.tsv": ("input,target\na,b\n", r"y.tsv:1: .* by commas, but .tsv is read with tabs: rename it to y.csv, or save it"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_file_that_cannot_be_read_is_named_with_the_line(name: str, tmp_path: Path) -> None:
    text, message = FAULTS[name]
    with pytest.raises(DataError, match=message):
        pairs(write(tmp_path / name, text))


def test_columns_without_a_name_and_keys_of_nested_objects_may_repeat(tmp_path: Path) -> None:
    assert pairs(write(tmp_path / "a.csv", "input,target,,\na,b,,\n")) == [("a", "b")]
    assert pairs(write(tmp_path / "a.jsonl", '{"input":"a","target":"b","about":{"x":1,"x":2}}')) == [("a", "b")]


def test_two_columns_of_one_name_in_parquet_are_told(tmp_path: Path) -> None:
    import pyarrow
    import pyarrow.parquet

    table = pyarrow.table([["a"], ["b"], ["c"]], names=["input", "target", "target"])
    pyarrow.parquet.write_table(table, tmp_path / "a.parquet")
    with pytest.raises(DataError, match=r"a.parquet: column 'target' is given twice"):
        readers.read(tmp_path / "a.parquet")


def test_a_column_without_a_value_is_ignored_where_another_answers(tmp_path: Path) -> None:
    assert pairs(write(tmp_path / "a.jsonl", '{"input":"a","target":"b","output":null}')) == [("a", "b")]


def test_dates_decimals_and_bytes_in_parquet_are_texts(tmp_path: Path) -> None:
    import pyarrow
    import pyarrow.parquet

    day = datetime.date(2020, 1, 2)
    columns = {"input": [b"3 1"], "target": [Decimal("1.50")], "day": [day], "days": [[day]], "image": [{"bytes": b"\xff"}]}
    pyarrow.parquet.write_table(pyarrow.table(columns), tmp_path / "a.parquet")
    (row,) = readers.read(tmp_path / "a.parquet")
    assert row.values == {"input": "3 1", "target": "1.50", "day": "2020-01-02", "days": ["2020-01-02"],
                          "image": '{"bytes": "\\\\xff"}'}  # fmt: skip


def test_a_null_in_parquet_is_told(tmp_path: Path) -> None:
    from datasets import Dataset

    Dataset.from_list([{"input": "3 1", "target": "1 3"}, {"input": "9 2", "target": None}]).to_parquet(tmp_path / "a.parquet")
    with pytest.raises(DataError, match=r"a.parquet:2: target is null"):
        pairs(tmp_path / "a.parquet")


def test_missing_empty_and_foreign_files_are_named(tmp_path: Path) -> None:
    (tmp_path / "empty.jsonl").touch()
    (tmp_path / "x.docx").touch()
    for path, message in (("empty.jsonl", "is empty"), ("nope.jsonl", "no such file"), ("x.docx", "unknown kind of file")):
        with pytest.raises(DataError, match=message):
            files.data_files(str(tmp_path / path))
    (tmp_path / "latin.csv").write_bytes(b"input,target\nk\xe9,b\n")
    with pytest.raises(DataError, match=r"latin.csv:2: byte 0xe9 is not UTF-8"):
        readers.read(tmp_path / "latin.csv")
    with pytest.raises(DataError, match="rules for text files are"):
        readers.read(write(tmp_path / "a.txt", "a=b"), rule="nope")


def test_a_name_on_the_hub_is_told_from_a_path() -> None:
    assert hub.is_hub_name("openai/gsm8k")
    assert hub.is_hub_name("owner/name-1.5")
    assert not any(map(hub.is_hub_name, ("a.jsonl", "data/a.jsonl", "a/b/c", "~/x", "data/*")))
