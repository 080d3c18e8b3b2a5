"""Outputs appear whole or not at all."""

import pytest

from ros2_derain.reporting.files import FileError, staged, write_json, write_text


def test_a_file_is_written_with_its_folders_and_replaced(tmp_path):
    path = tmp_path / "new" / "a.json"
    write_json(path, {"a": 1})
    write_text(path, "second")
    assert path.read_text() == "second" and list(path.parent.iterdir()) == [path]


def test_a_failed_write_leaves_nothing_partial(tmp_path):
    (tmp_path / "a.json").mkdir()
    with pytest.raises(FileError, match=r"Cannot write .*a.json \(0.0 MB\): Is a directory"):
        write_text(tmp_path / "a.json", "text")
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]


def test_a_failed_block_leaves_the_former_output(tmp_path):
    out = tmp_path / "out"
    out.write_text("former")
    with pytest.raises(FileError, match="exists: name another output, or replace it with --force"):
        with staged(out, False, ""):
            pass
    with pytest.raises(KeyboardInterrupt), staged(out, True, "") as stage:
        (stage / "out").write_text("half")
        raise KeyboardInterrupt
    assert out.read_text() == "former" and list(tmp_path.iterdir()) == [out]
    with staged(out, True, "") as stage:
        (stage / "out").write_text("whole")
    assert out.read_text() == "whole" and list(tmp_path.iterdir()) == [out]
