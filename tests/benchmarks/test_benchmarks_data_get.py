"""``odenets data get``: an archive is laid whole, or not at all."""

import hashlib
import http.server
import io
import re
import tarfile
import threading
from dataclasses import replace

import pytest
import torch

from odenets.__main__ import main
from odenets.benchmarks.common.errors import DataError
from odenets.benchmarks.data import cifar, sources
from odenets.benchmarks.data.download import Archive

RECORDS = {"train.bin": 6, "test.bin": 4}


def content(name):
    """Records with the coarse label 3, fine labels 0, 1, 2, ... and pixels of that level."""
    return b"".join(bytes([3, i]) + bytes([i]) * 3072 for i in range(RECORDS[name]))


def packed(path, members):
    """A tar file; returns its SHA-256."""
    with tarfile.open(path, "w:gz") as archive:
        for name, raw in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(raw)
            archive.addfile(info, io.BytesIO(raw))
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture
def tiny(tmp_path, monkeypatch):
    """CIFAR-100 of ten images, its archive a file of this machine."""
    path = tmp_path / "web.tar.gz"
    sha256 = packed(path, {f"tiny/{name}": content(name) for name in RECORDS})
    train, test = (cifar.File(name, n, hashlib.sha256(content(name)).hexdigest()) for name, n in RECORDS.items())
    one = cifar.Cifar("tiny", (20, 100), Archive(path.as_uri(), sha256, "tiny"), (train,), test)
    monkeypatch.setitem(sources.SOURCES, "tiny", sources.Source(one.load, 1, "ten images", one.get))
    return one


def changed(monkeypatch, one, **archive):
    """The same with another archive."""
    one = replace(one, archive=replace(one.archive, **archive))
    monkeypatch.setitem(sources.SOURCES, "tiny", sources.Source(one.load, 1, get=one.get))


def refused(folder, capsys):
    """The one line of an error that leaves nothing behind."""
    assert main(["data", "get", "tiny", "--data-dir", str(folder)]) == 2
    printed = capsys.readouterr()
    assert printed.err.startswith("error: ")
    assert printed.err.count("\n") == 1
    assert not printed.out
    assert not folder.is_dir() or not list(folder.iterdir())
    return printed.err


def test_it_is_fetched_checked_unpacked_and_then_loaded(tiny, tmp_path, capsys, monkeypatch):
    folder = tmp_path / "new" / "data"
    with pytest.raises(DataError, match=f"train.bin is missing; odenets data get tiny --data-dir {folder}"):
        sources.load("tiny", folder)
    assert main(["data", "get", "tiny", "--data-dir", str(folder)]) == 0
    assert capsys.readouterr().out == f"tiny is whole in {folder / 'tiny'}\n"
    assert sorted(path.name for path in folder.rglob("*")) == ["test.bin", "tiny", "train.bin"]
    loaded = sources.load("tiny", folder)
    assert (loaded.train_size, loaded.test_size, loaded.num_classes) == (6, 4, 100)
    assert torch.equal(loaded.train_labels, torch.arange(6))
    assert torch.equal(loaded.train_images.float().mean((1, 2, 3)), torch.arange(6.0))
    # Once it is there the network is not asked again.
    changed(monkeypatch, tiny, url=(tmp_path / "gone").as_uri())
    assert main(["data", "get", "tiny", "--data-dir", str(folder)]) == 0


def test_what_is_damaged_is_left_to_its_owner(tiny, tmp_path, capsys):
    (tmp_path / "tiny").mkdir()
    (tmp_path / "tiny" / "train.bin").write_bytes(b"half")
    assert main(["data", "get", "tiny", "--data-dir", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert f"train.bin is truncated: it has 4 bytes, expected {6 * 3074}; delete {tmp_path / 'tiny'} and run" in error
    assert (tmp_path / "tiny" / "train.bin").read_bytes() == b"half"


def test_another_file_than_expected(tiny, tmp_path, capsys, monkeypatch):
    changed(monkeypatch, tiny, sha256="0" * 64)
    assert "web.tar.gz is not the file it was: invalid hash value" in refused(tmp_path / "data", capsys)


def test_contents_that_are_damaged_although_the_archive_is_not(tiny, tmp_path, capsys, monkeypatch):
    sha256 = packed(tmp_path / "web.tar.gz", {"tiny/train.bin": content("train.bin"), "tiny/test.bin": b"half"})
    changed(monkeypatch, tiny, sha256=sha256)
    assert "test.bin is truncated: it has 4 bytes" in refused(tmp_path / "data", capsys)


def test_a_member_that_would_land_elsewhere(tiny, tmp_path, capsys, monkeypatch):
    changed(monkeypatch, tiny, sha256=packed(tmp_path / "web.tar.gz", {"../../outside": b"x"}))
    assert "web.tar.gz cannot be unpacked (" in refused(tmp_path / "data", capsys)
    assert not (tmp_path / "outside").exists()


def test_a_python_that_cannot_unpack_safely(tiny, tmp_path, capsys, monkeypatch):
    monkeypatch.delattr(tarfile, "data_filter")
    assert "take 3.10.12, 3.11.4 or a later one" in refused(tmp_path / "data", capsys)


def test_no_tar_file(tiny, tmp_path, capsys, monkeypatch):
    (tmp_path / "web.tar.gz").write_bytes(b"not found")
    changed(monkeypatch, tiny, sha256=hashlib.sha256(b"not found").hexdigest())
    assert "web.tar.gz cannot be unpacked (" in refused(tmp_path / "data", capsys)


def test_no_network(tiny, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("no_proxy", "*")
    with http.server.HTTPServer(("127.0.0.1", 0), http.server.BaseHTTPRequestHandler) as server:
        port = server.server_port
    changed(monkeypatch, tiny, url=f"http://127.0.0.1:{port}/web.tar.gz")  # nobody listens there any more
    error = refused(tmp_path / "data", capsys)
    assert re.search(r"web\.tar\.gz cannot be fetched \(.*Connection refused\); try again, or fetch it where", error)
    assert f"unpack it here: tar -xf FILE -C {tmp_path / 'data'}\n" in error


@pytest.mark.parametrize(
    "case", [(404, 0, "cannot be fetched (Not Found)"), (200, 10, "is not the file it was: invalid hash value")]
)
def test_a_server_that_has_it_not_or_breaks_off(case, tiny, tmp_path, capsys, monkeypatch):
    status, sent, complaint = case
    whole = (tmp_path / "web.tar.gz").read_bytes()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(status)
            self.send_header("Content-Length", str(len(whole)))
            self.end_headers()
            self.wfile.write(whole[:sent])

        def log_message(self, *args):
            pass

    monkeypatch.setenv("no_proxy", "*")
    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        changed(monkeypatch, tiny, url=f"http://127.0.0.1:{server.server_port}/web.tar.gz")
        assert complaint in refused(tmp_path / "data", capsys)
        server.shutdown()


def test_a_folder_that_cannot_be_made(tiny, tmp_path, capsys):
    (tmp_path / "file").write_bytes(b"")
    error = refused(tmp_path / "file" / "data", capsys)
    assert error.endswith("data cannot be written to (Not a directory); give another folder by --data-dir\n")


def test_interrupted_it_leaves_nothing(tiny, tmp_path, capsys, monkeypatch):
    def interrupted(*args, **options):
        (tmp_path / "data" / "seen").touch()
        raise KeyboardInterrupt

    monkeypatch.setattr(tarfile.TarFile, "extractall", interrupted)
    assert main(["data", "get", "tiny", "--data-dir", str(tmp_path / "data")]) == 130
    assert "interrupted: nothing was kept" in capsys.readouterr().err
    assert [path.name for path in (tmp_path / "data").iterdir()] == ["seen"]


def test_help_says_where_the_data_go(capsys):
    with pytest.raises(SystemExit, match="0"):
        main(["data", "get", "--help"])
    assert "where it goes; data" in capsys.readouterr().out
    with pytest.raises(SystemExit, match="2"):
        main(["data", "get", "cifar10", "--data", "x"])
    assert capsys.readouterr().err == "error: unrecognized arguments: --data x; see --help\n"
    assert main(["bench"]) == 0
    assert "data" not in capsys.readouterr().out.split("NAME: ")[1].split(", ")


def test_the_official_archives():
    """MD5 sums are on the official page; these are SHA-256, of files of the same names."""
    assert cifar.CIFAR10.archive.url == "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz"
    assert cifar.CIFAR100.archive.url == "https://www.cs.toronto.edu/~kriz/cifar-100-binary.tar.gz"
    assert all(len(one.archive.sha256) == 64 for one in (cifar.CIFAR10, cifar.CIFAR100))


def test_what_needs_no_command_and_what_no_command_can_do(tmp_path, capsys):
    assert main(["data", "get", "digits"]) == 0
    assert "nothing to get" in capsys.readouterr().out
    assert main(["data", "get", "imagenet", "--data-dir", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert (
        f"{tmp_path / 'imagenet' / 'train'} is missing; its images are given to who registers at https://image" in error
    )
    assert "imagenet/train/CLASS/*.JPEG and imagenet/val/CLASS/*.JPEG in the folder given by --data-dir" in error
    assert main(["data", "get", "mnist"]) == 2
    assert "unknown data set 'mnist', expected one of digits, cifar10" in capsys.readouterr().err
