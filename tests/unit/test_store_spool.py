import subprocess
import sys
from pathlib import Path

import pytest

from appliance.store.spool import Spool, waiting_lines


def numbered(first: int, last: int) -> list[bytes]:
    return [f'{{"n":{number}}}'.encode() for number in range(first, last + 1)]


def emptied(spool: Spool) -> list[bytes]:
    lines: list[bytes] = []
    while batch := spool.read(2):
        lines += batch
        spool.taken(batch)
    return lines


def test_lines_come_back_in_order_and_the_file_is_emptied(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool", "gateway-1")
    spool.append(numbered(1, 3))
    spool.append(numbered(4, 5))
    assert spool.waiting == waiting_lines(tmp_path / "spool") == 5
    assert emptied(spool) == numbered(1, 5)
    assert spool.waiting == waiting_lines(tmp_path / "spool") == 0
    spool.append(numbered(6, 6))
    assert emptied(spool) == numbered(6, 6)
    spool.close()


def test_lines_that_were_read_but_not_taken_are_read_again_after_a_restart(tmp_path: Path) -> None:
    spool = Spool(tmp_path, "gateway-1")
    spool.append(numbered(1, 3))
    assert spool.read(10) == numbered(1, 3)
    assert spool.read(10) == numbered(1, 3)
    spool.close()
    again = Spool(tmp_path, "gateway-1")
    again.open()
    assert emptied(again) == numbered(1, 3)
    again.close()


def test_a_line_cut_short_by_a_dying_process_is_dropped_and_not_glued_to_the_next(tmp_path: Path) -> None:
    (tmp_path / "gateway-1.jsonl").write_bytes(b'{"n":1}\n{"n":')
    spool = Spool(tmp_path, "gateway-1")
    spool.open()
    assert spool.waiting == 1
    spool.append(numbered(2, 2))
    assert emptied(spool) == numbered(1, 2)
    spool.close()


def test_a_file_whose_process_is_gone_is_taken_over_and_removed_and_a_living_one_left_alone(tmp_path: Path) -> None:
    living, dead = Spool(tmp_path, "gateway-2"), Spool(tmp_path, "gateway-3")
    living.append(numbered(20, 21))
    dead.append(numbered(30, 31))
    dead.close()
    spool = Spool(tmp_path, "gateway-1")
    spool.append(numbered(10, 10))
    assert spool.waiting == 3
    assert emptied(spool) == [*numbered(30, 31), *numbered(10, 10)]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["gateway-1.jsonl", "gateway-2.jsonl"]
    assert emptied(living) == numbered(20, 21)
    living.close()
    spool.close()


def test_the_same_name_twice_gives_two_files(tmp_path: Path) -> None:
    first, second = Spool(tmp_path, "gateway-1"), Spool(tmp_path, "gateway-1")
    first.append(numbered(1, 1))
    second.append(numbered(2, 2))
    assert emptied(first) == numbered(1, 1)
    assert emptied(second) == numbered(2, 2)
    first.close()
    second.close()


def test_a_file_that_is_removed_while_lines_are_counted_has_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another process may have written its lines to the database between our finding the file and our reading it."""
    living, emptied_one = Spool(tmp_path, "gateway-1"), tmp_path / "gateway-2.jsonl"
    living.append(numbered(1, 2))
    emptied_one.write_bytes(b'{"n":3}\n')
    read = Path.read_bytes

    def removed_before(path: Path) -> bytes:
        if path == emptied_one:
            path.unlink()
        return read(path)

    monkeypatch.setattr(Path, "read_bytes", removed_before)
    assert waiting_lines(tmp_path) == 2
    assert not emptied_one.exists()
    living.close()


FULL_DISK = """
import resource, sys
from pathlib import Path
from appliance.store.spool import Spool
spool = Spool(Path(sys.argv[1]), "gateway-1")
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, resource.RLIM_INFINITY))
stored, refused = 0, 0
for number in range(30):
    try:
        spool.append([b'{"n":%02d,"text":"%s"}' % (number, b"x" * 30) for _ in range(3)])
        stored += 1
    except OSError:
        refused += 1
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
spool.append([b'{"n":99}'])
print(stored, refused)
"""


def test_a_full_disk_refuses_whole_lines_and_spoils_none(tmp_path: Path) -> None:
    told = subprocess.run([sys.executable, "-c", FULL_DISK, tmp_path], capture_output=True, text=True, check=True).stdout.split()
    stored, refused = int(told[0]), int(told[1])
    assert stored > 0
    assert refused > 0
    spool = Spool(tmp_path, "gateway-1")
    spool.open()
    lines = emptied(spool)
    spool.close()
    assert len(lines) == 3 * stored + 1
    assert lines[-1] == b'{"n":99}'
    assert all(line.endswith(b'"}') and line.startswith(b'{"n":') for line in lines[:-1])


def test_a_folder_that_cannot_be_made_is_an_error_of_the_disk(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="file"):
        Spool(tmp_path / "file" / "spool", "gateway-1").append(numbered(1, 1))
