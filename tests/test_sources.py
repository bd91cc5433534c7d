"""Places of saved files: folders, patterns, archives and storages."""

from __future__ import annotations

import gzip
import io
import json
import logging
import os
import random
import struct
import threading
import tracemalloc
import zipfile
import zlib
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import pytest

from tests.runner import command
from tests.test_malformed_rows import data_row, item
from tests.test_saved import MAY, MB, at, run

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable, Sequence

    from tests.runner import Output


def line(*numbers: int) -> bytes:
    """Return data rows, one a line."""
    return b"".join(json.dumps(data_row(n)).encode() + b"\n" for n in numbers)


def array(*numbers: int) -> bytes:
    """Return what ``json.dump(task.result, file)`` writes."""
    return json.dumps([data_row(n) for n in numbers], indent=1).encode()


def zipped(
    members: dict[str, bytes] | Sequence[tuple[str, bytes]],
    compression: int = zipfile.ZIP_DEFLATED,
) -> bytes:
    """Return a ZIP archive."""
    content = io.BytesIO()
    pairs = members.items() if isinstance(members, dict) else members
    with zipfile.ZipFile(content, "w", compression) as archive:
        for name, text in pairs:
            archive.writestr(name, text)
    return content.getvalue()


def gz(content: bytes) -> bytes:
    """Return it compressed with gzip."""
    return gzip.compress(content, mtime=0)


def write(folder: Path, files: dict[str, bytes]) -> None:
    """Write files, and the folders that they are in."""
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def ids(output: Output) -> list[str]:
    """Return the data rows that were read, in order."""
    return [row["data_row_id"] for row in output.records("data_row_exports")]


def read(*addresses: Path | str, stream: str = "data_row_exports") -> Output:
    """Read a stream from these addresses."""
    return run(addresses, stream)


FILES = {
    "a.json": array(0),
    "b.ndjson": line(1),
    "c.JSONL": line(2),
    "d.json.gz": gz(array(3)),
    "deep/er/e.ndjson.gz": gz(line(4)),
    "f.zip": zipped({"in/g.json": array(5), "h.ndjson.gz": gz(line(6))}),
}
OTHERS = {
    "README.md": b"# Exports",
    "deep/image.png": b"\x89PNG",
    ".DS_Store": b"\0\0\0\1Bud1",
    "._a.json": b"\0\5\x16\7",
    ".git/x.json": b"{}",
    "z.zip.part": b"PK",
}
ALL = [f"r{n}" for n in range(7)]


# --- folders and patterns -----------------------------------------------------------


def test_a_folder_is_read(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """At any depth, in one order, with what is in archives; the rest is named."""
    caplog.set_level(logging.INFO)
    write(tmp_path, FILES | OTHERS)

    output = read(tmp_path)

    assert output.error is None
    assert ids(output) == ALL
    (logged,) = [r for r in caplog.records if "but not" in r.getMessage()]
    assert logged.levelname == "WARNING"
    assert f"{tmp_path}: 6 files to read" in logged.getMessage()
    assert all(name in logged.getMessage() for name in OTHERS)
    assert any("f.zip: 2 files to read" in m for m in caplog.messages)


def test_what_is_hidden_is_reported_without_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It is in every folder that somebody has looked into."""
    caplog.set_level(logging.INFO)
    write(tmp_path, {"a.json": line(0), ".DS_Store": b"\0"})

    assert ids(read(tmp_path)) == ["r0"]

    (logged,) = [r for r in caplog.records if ".DS_Store" in r.getMessage()]
    assert logged.levelname == "INFO"


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("*.json", "0"),
        ("*.json*", "03"),
        ("?.ndjson", "1"),
        ("[ab].*", "01"),
        ("**/*.ndjson*", "14"),
        ("**/*.gz", "34"),
        ("*", "0123456"),
        ("**", "0123456"),
        ("d*", "34"),  # a file, and a folder
        ("*/er", "4"),
        ("*.zip", "56"),
        ("*.txt", "8"),  # any name that is asked for
    ],
)
def test_a_pattern_is_read(tmp_path: Path, pattern: str, expected: str) -> None:
    """As a shell reads it; what it matches that is a folder is read as one."""
    write(tmp_path / "x", FILES | OTHERS | {"8.txt": line(8)})

    output = read(tmp_path / "x" / pattern)

    assert output.error is None
    assert "".join(i[1:] for i in ids(output)) == expected


def test_a_file_named_like_a_pattern_is_read(tmp_path: Path) -> None:
    """As browsers name what is downloaded twice."""
    write(tmp_path, {"a[1].json": line(1), "a1.json": line(2), "b (1)?.json": line(3)})

    assert ids(read(tmp_path / "a[1].json")) == ["r1"]
    assert ids(read(tmp_path / "b (1)?.json")) == ["r3"]


def test_home_is_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a shell knows it, which does not look into a file of settings."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    write(tmp_path, {"exports/a.json": line(1), "b.json": line(2)})

    assert ids(read("~/exports", "~/b.json", "~/exports/*.json")) == ["r1", "r2"]


def test_a_relative_path_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From where the tap runs."""
    monkeypatch.chdir(tmp_path)
    write(tmp_path, {"exports/a.json": line(1)})

    assert ids(read("exports")) == ids(read("./exports/../exports/*.json")) == ["r1"]


def test_each_file_is_read_once(tmp_path: Path) -> None:
    """However often it is listed, and by whichever name."""
    write(tmp_path, {"in/a.json": line(1), "in/b.zip": zipped({"c.json": line(2)})})
    (tmp_path / "link.json").symlink_to(tmp_path / "in" / "a.json")

    output = read(tmp_path / "in", tmp_path / "in/*", tmp_path / "link.json")

    assert ids(output) == ["r1", "r2"]


def test_a_folder_that_holds_itself_is_read_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Links to folders are named, not followed; one that is listed is read."""
    write(tmp_path, {"in/a.json": line(1)})
    (tmp_path / "in" / "loop").symlink_to(tmp_path / "in")
    (tmp_path / "other").symlink_to(tmp_path / "in")

    assert ids(read(tmp_path / "in")) == ["r1"]
    assert [m for m in caplog.messages if "but not loop" in m]
    assert ids(read(tmp_path / "other")) == ["r1"]
    assert ids(read(tmp_path / "oth*")) == ["r1"]


@pytest.mark.parametrize(
    ("address", "logged"),
    [
        ("empty", "no file to read in it"),
        ("only", "no file to read in it, but not README.md"),
        ("only/*.json", "no file to read in it"),
        ("only/**/*.json", "no file to read in it"),
        ("none", "no such file"),
        ("none/*", "no file to read in it"),
        ("none.json", "no such file"),
        ("empty.zip", "no file to read in it"),
        ("docs.zip", "no file to read in it, but not README.md"),
        ("nested.zip", "no file to read in it, but not in.zip"),
        ("text.zip", "not a zip file"),
        ("a\0b.json", "null"),
    ],
)
def test_what_matches_nothing_is_an_error(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, address: str, logged: str
) -> None:
    """By its name; all else is read."""
    (tmp_path / "empty").mkdir()
    write(
        tmp_path,
        {
            "only/README.md": b"#",
            "good.json": line(1),
            "empty.zip": zipped({}),
            "docs.zip": zipped({"README.md": b"#", "__MACOSX/._a.json": b"\0\5"}),
            "nested.zip": zipped({"in.zip": zipped({"a.json": line(2)})}),
            "text.zip": b"text",
        },
    )

    output = read(tmp_path / address, tmp_path / "good.json")

    assert ids(output) == ["r1"]
    assert "the sync is incomplete; left out:" in str(output.error)
    (message,) = [m for m in caplog.messages if "is left out" in m]
    assert message.startswith(str(tmp_path))
    assert logged in message


def test_what_may_not_be_opened_is_named(caplog: pytest.LogCaptureFixture) -> None:
    """A file, and a folder within one that is read."""
    is_root = os.geteuid() == 0
    with TemporaryDirectory() as name:  # of which others may see what is in it
        folder = Path(name)
        write(folder, {"a.json": line(1), "shut/b.json": line(2), "c.json": line(3)})
        folder.chmod(0o755)
        for shut in ("shut", "c.json"):
            (folder / shut).chmod(0)
        try:
            if is_root:  # which may open everything
                os.seteuid(65534)
            output = read(folder)
        finally:
            if is_root:
                os.seteuid(0)
            (folder / "shut").chmod(0o700)

    assert ids(output) == ["r1"]
    for shut in ("shut", "c.json"):
        assert str(folder / shut) in str(output.error)
    assert len([m for m in caplog.messages if "Permission denied" in m]) == 2


# --- order --------------------------------------------------------------------------


def stamped(number: int, day: int) -> bytes:
    """Return a data row that was active on a day."""
    return json.dumps(at(number, f"{MAY}{day:02}T00:00:00Z")).encode()


@pytest.mark.parametrize("newest_first", [True, False])
def test_the_newest_activity_wins_wherever_it_is(
    tmp_path: Path, bucket: Callable[[str], Any], *, newest_first: bool
) -> None:
    """In folders, archives and on storages, mixed."""
    name = f"mixed-{newest_first}".lower()
    client = bucket(name)
    days = {n: (9 - n if newest_first else n + 1) for n in range(5)}
    write(
        tmp_path,
        {
            "folder/a.json": stamped(0, days[0]),
            "folder/b.json.gz": gz(stamped(1, days[1])),
            "c.zip": zipped({"1": b"", "x.json": stamped(2, days[2])}),
        },
    )
    client.put_object(Bucket=name, Key="d.json", Body=stamped(3, days[3]))
    client.put_object(Bucket=name, Key="d.json.gz", Body=gz(stamped(4, days[4])))

    output = read(tmp_path / "folder", tmp_path / "c.zip", f"s3://{name}/*.json*")

    assert output.error is None
    order = range(4, -1, -1) if newest_first else range(5)
    assert ids(output) == [f"r{n}" for n in order]


def test_the_order_of_a_broken_file_is_that_of_what_it_has(tmp_path: Path) -> None:
    """It is not taken for older than all others."""
    rows = b"".join(stamped(n, 9) + b"\n" for n in range(3))
    noise = random.Random(1).randbytes(MB).hex().encode()
    write(
        tmp_path,
        {
            "a.json.gz": gz(rows + noise)[: -MB // 3],
            "b.json": stamped(1, 1),
        },
    )

    output = read(tmp_path / "a.json.gz", tmp_path / "b.json")

    assert ids(output) == ["r1", "r0", "r1", "r2"]
    assert output.error


# --- what is compressed ---------------------------------------------------------------

BOM = b"\xef\xbb\xbf"
LAYOUTS = {
    "lines": line(1, 2),
    "array": array(1, 2),
    "one line": json.dumps([data_row(1), data_row(2)]).encode(),
    "with a byte order mark": BOM + line(1, 2),
    "an array with one": BOM + array(1, 2),
}


PACKED: dict[str, tuple[str, Callable[[bytes], bytes]]] = {
    "plain": ("a.json", bytes),
    "gzip": ("a.json.gz", gz),
    "gzip that its name conceals": ("a.json", gz),
    "gzip that was unpacked on its way": ("a.json.gz", bytes),
    "zip": ("a.zip", lambda text: zipped({"a.json": text})),
    "gzip in zip": ("a.ZIP", lambda text: zipped({"a.jsonl.gz": gz(text)})),
    "stored": ("a.zip", lambda text: zipped({"a.json": text}, zipfile.ZIP_STORED)),
    "lzma": ("a.zip", lambda text: zipped({"a.json": text}, zipfile.ZIP_LZMA)),
}


@pytest.mark.parametrize("content", LAYOUTS.values(), ids=LAYOUTS)
@pytest.mark.parametrize(("name", "packed"), PACKED.values(), ids=PACKED)
def test_every_layout_is_read_from_every_archive(
    tmp_path: Path, content: bytes, name: str, packed: Callable[[bytes], bytes]
) -> None:
    """The first bytes of a file show how it is compressed."""
    write(tmp_path, {name: packed(content)})

    output = read(tmp_path / name)

    assert output.error is None
    assert ids(output) == ["r1", "r2"]


def test_several_in_one_are_read(tmp_path: Path) -> None:
    """Parts of gzip one after the other, and members of one name."""
    with pytest.warns(UserWarning, match="Duplicate name"):
        twice = zipped([("a.json", line(3)), ("a.json", line(4))])
    write(tmp_path, {"a.gz": gz(line(1)) + gz(line(2)) + bytes(512), "b.zip": twice})

    output = read(tmp_path / "a.gz", tmp_path / "b.zip")

    assert output.error is None
    assert ids(output) == ["r1", "r2", "r3", "r4"]


def test_a_row_is_named_by_its_file_and_member(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """And by its line and byte in what is decompressed."""
    text = line(1) + b'{"data_row": "' + b"\n" + line(2)
    write(tmp_path, {"a.json.gz": gz(text), "b.zip": zipped({"in/c.json": text})})

    output = read(tmp_path / "a.json.gz", tmp_path / "b.zip")

    assert ids(output) == ["r1", "r2", "r1", "r2"]
    place = f"line 2 (byte {len(line(1))}) of "
    for name in (f"{tmp_path}/a.json.gz", f"in/c.json in {tmp_path}/b.zip"):
        assert [m for m in caplog.messages if f"{place}{name} is left out" in m]


def test_a_name_cannot_write_lines_of_its_own(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Members are named by whoever made the archive."""
    malformed = "a\nERROR all is lost"
    members = {
        f"{malformed}.json": line(1) + b"{\n",
        f"{malformed}.png": b"",
        f"{malformed}2.json": b"",
    }
    write(tmp_path, {"a.zip": zipped(members)})

    output = read(tmp_path / "a.zip")

    assert ids(output) == ["r1"]
    logged = [m for m in caplog.messages if "all is lost" in m]
    assert len(logged) == 3
    assert "\n" not in str(output.error)
    assert not [m for m in logged if "\n" in m]


def flagged(content: bytes) -> bytes:
    """Return an archive of which the members are marked as encrypted."""
    changed = bytearray(content)
    changed[6] |= 1
    directory = content.index(b"PK\1\2")
    changed[directory + 8] |= 1
    return bytes(changed)


def other_checksum(content: bytes) -> bytes:
    """Return an archive with a checksum that its member does not have."""
    directory = content.index(b"PK\1\2")
    return content[: directory + 16] + b"\1\2\3\4" + content[directory + 20 :]


def other_method(content: bytes) -> bytes:
    """Return an archive with a member that is compressed with Deflate64."""
    changed = bytearray(content)
    struct.pack_into("<H", changed, 8, 9)
    struct.pack_into("<H", changed, content.index(b"PK\1\2") + 10, 9)
    return bytes(changed)


ROWS = line(*range(50))


@pytest.mark.parametrize(
    ("name", "content", "logged", "is_read"),
    [
        ("a.json.gz", gz(ROWS)[:-8], "end-of-stream", True),
        ("a.json.gz", gz(ROWS)[:-1], "end-of-stream", True),
        ("a.json.gz", gz(ROWS)[:-8] + b"\1\2\3\4" + gz(ROWS)[-4:], "CRC", True),
        ("a.json.gz", gz(ROWS)[:10] + b"\xff" * 40, "decompressing", False),
        ("a.json.gz", gz(ROWS) + b"more", "gzip", True),
        ("a.json.gz", b"\x1f\x8b", "end-of-stream", False),
        ("a.zip", other_checksum(zipped({"a.json": ROWS})), "CRC", False),
        ("a.zip", flagged(zipped({"a.json": ROWS})), "encrypted: decrypt it", False),
        ("a.zip", other_method(zipped({"a.json": ROWS})), "compression", False),
        ("a.zip", zipped({"a.json": ROWS})[:-30], "zip file", False),
        ("a.zip", zipped({"a.json.gz": gz(ROWS)[:-8]}), "end-of-stream", True),
    ],
)
def test_a_broken_archive_costs_no_more_than_what_is_broken(
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    name: str,
    content: bytes,
    logged: str,
    *,
    is_read: bool,
) -> None:
    """It is named, what comes before is read, and so are other files."""
    write(tmp_path, {f"1/{name}": content, "2.json": line(99)})

    output = read(tmp_path / "1", tmp_path / "2.json")

    expected = {f"r{n}" for n in range(50)} if is_read else set()
    assert {*ids(output)} == expected | {"r99"}
    (message,) = [m for m in caplog.messages if "is left out" in m]
    assert logged in message
    assert str(tmp_path / "1" / name) in message
    assert "the sync is incomplete; left out:" in str(output.error)


def test_items_of_a_bulk_export_are_read_too(tmp_path: Path) -> None:
    """With when their archive was modified."""
    items = json.dumps([item(1), item(2)]).encode()
    write(tmp_path, {"a.json.gz": gz(items), "b.zip": zipped({"c.json": items})})
    for name in ("a.json.gz", "b.zip"):
        os.utime(tmp_path / name, (1, 1_700_000_000))

    output = read(tmp_path, stream="bulk_export")

    assert output.error is None
    made = {row["exported_at"][:19] for row in output.records("bulk_export")}
    assert made == {"2023-11-14T22:13:20"}
    assert len(output.ids("bulk_export")) == 4


def test_a_row_that_is_cut_off_is_reported_and_those_before_it_are_read(
    tmp_path: Path,
) -> None:
    """Whichever size the rest of a broken file has."""
    rows = b"".join(
        json.dumps(data_row(n) | {"x": random.Random(n).randbytes(3000).hex()}).encode()
        + b"\n"
        for n in range(60)
    )
    whole = gz(rows)
    path = tmp_path / "a.json.gz"
    for end in range(1000, len(whole), len(whole) // 20):
        path.write_bytes(whole[:end])
        text = zlib.decompressobj(31).decompress(whole[:end])

        output = read(path)

        assert output.error
        assert len(ids(output)) == text.count(b"\n")


@pytest.mark.parametrize("pack", ["gzip", "zip"])
@pytest.mark.parametrize(
    ("first_page", "closing"),
    [(b'{"data_row": {"id": "', b'"}}'), (b"", b""), (b"[", b"]")],
)
def test_a_bomb_is_bounded(
    tmp_path: Path, first_page: bytes, closing: bytes, pack: str
) -> None:
    """It costs itself, and no more memory than a row may have."""
    size = 64 * MB
    bomb = first_page + b" " * size + closing
    name, packed = PACKED[pack]
    write(tmp_path, {name: packed(bomb + b"\n" + line(1))})
    (path,) = tmp_path.iterdir()
    del bomb

    tracemalloc.start()
    try:
        output = run([path], "data_row_exports", max_row_bytes=MB)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert peak < 30 * MB < size
    assert ids(output) == ["r1"]
    assert bool(output.error) == first_page.startswith(b"{")


def test_a_pipe_may_be_compressed(tmp_path: Path) -> None:
    """It is read once, and waited for no more."""
    path = tmp_path / "pipe"
    os.mkfifo(path)
    writer = threading.Thread(target=lambda: path.write_bytes(gz(line(1, 2))))
    writer.start()

    output = read(path)

    writer.join()
    assert output.error is None
    assert ids(output) == ["r1", "r2"]


# --- storages ---------------------------------------------------------------


def test_s3_is_read(bucket: Callable[[str], Any], tmp_path: Path) -> None:
    """Files, folders, patterns and archives, as on this machine."""
    client = bucket("exports")
    for name, content in (FILES | OTHERS).items():
        client.put_object(Bucket="exports", Key=f"raw/{name}", Body=content)
    write(tmp_path, {"x.json": line(7)})

    assert ids(read("s3://exports/raw")) == ALL
    assert ids(read("s3://exports")) == ALL
    assert ids(read("s3://exports/raw/**/*.gz")) == ["r3", "r4"]
    assert ids(read("s3://exports/raw/f.zip", tmp_path)) == ["r5", "r6", "r7"]
    assert ids(read("s3://exports/raw/d.json.gz")) == ["r3"]


@pytest.mark.parametrize(
    ("address", "logged"),
    [
        ("s3://errors/none.json", "no such file"),
        ("s3://errors/none/*.json", "no file to read in it"),
        ("s3://no-such-bucket/a.json", ""),
        ("s3://errors/broken.json.gz", "end-of-stream"),
        ("s3://errors/odd.json", "no data_row.id"),
    ],
)
def test_what_cannot_be_read_on_s3_is_named(
    bucket: Callable[[str], Any],
    caplog: pytest.LogCaptureFixture,
    address: str,
    logged: str,
) -> None:
    """By its address; all else is read."""
    client = bucket("errors")
    client.put_object(Bucket="errors", Key="good.json", Body=line(1))
    client.put_object(Bucket="errors", Key="broken.json.gz", Body=gz(line(2))[:-8])
    client.put_object(Bucket="errors", Key="odd.json", Body=b"{}\n")

    output = read(address, "s3://errors/good.json")

    assert "r1" in ids(output)
    assert address in str(output.error)
    assert [m for m in caplog.messages if address in m and logged in m]


@pytest.mark.usefixtures("s3")
def test_a_storage_without_credentials_is_named(tmp_path: Path) -> None:
    """In one line."""
    done = command_with(tmp_path, "s3://private/a.json")

    assert (
        "s3://private/a.json is left out: Unable to locate credentials" in done.stderr
    )
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("address", "logged"),
    [
        ("s3://exports/a.json", "install tap-labelbox[s3]"),
        ("gs://exports/a.json", "install gcsfs"),
        ("ftps://exports/a.json", "Protocol not known: ftps"),
    ],
)
def test_a_storage_that_is_not_installed_is_reported(
    tmp_path: Path, address: str, logged: str
) -> None:
    """In one line, with what to install."""
    hidden = "import sys; sys.modules['s3fs'] = sys.modules['gcsfs'] = None; "
    done = command_with(tmp_path, address, hidden)

    (message,) = [text for text in done.stderr.split("\n") if "cannot be read" in text]
    assert f"export_files: {address} cannot be read: " in message
    assert logged in message
    assert done.returncode
    assert "Traceback" not in done.stderr


def command_with(
    tmp_path: Path, address: str, first: str = ""
) -> subprocess.CompletedProcess[str]:
    """Read an address with the tap's command."""
    config = tmp_path / "config.json"
    config.write_text(json.dumps({"export_files": [address]}))
    if not first:
        return command("--config", str(config))
    run_tap = f"{first}from tap_labelbox.__main__ import main; main()"
    return command("--config", str(config), program=("-c", run_tap))
