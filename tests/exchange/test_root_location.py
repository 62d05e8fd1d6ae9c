"""Where a root lies: plain paths are taken as they are, file URLs decoded once, and what would get lost is refused."""

import os
from pathlib import Path

import pytest

from exchange.storage import JoinedRoots, StorageRefused, open_known_root, open_root
from exchange.storage.root_location import RootLocation

ODD_NAMES = [
    "a b", "a#b", "a?b", "a%20b", "100%", "%zz", "müller 日本", "$HOME", "'\"", "back\\slash", "a;b&c", "-leading", "~",
    "a:b", "x" * 255,
]  # fmt: skip


@pytest.mark.parametrize("name", ODD_NAMES)
def test_a_plain_path_is_taken_letter_by_letter(tmp_path: Path, name: str) -> None:
    open_root(f"{tmp_path}/{name}/").create("folder/key", b"data")
    assert [path.name for path in tmp_path.iterdir()] == [name]
    url = (tmp_path / name).as_uri()
    assert open_known_root(url).read("folder/key").data == b"data"
    assert open_root(url).url == open_root(str(tmp_path / name)).url == url


def test_a_relative_path_is_of_the_working_directory_at_the_start(tmp_path: Path) -> None:
    here = Path.cwd()
    os.chdir(tmp_path)
    try:
        root = open_root("a b#c")
        tilde = open_root("~/x")
    finally:
        os.chdir(here)
    root.create("key", b"data")
    tilde.create("key", b"data")
    assert (tmp_path / "a b#c" / "key").read_bytes() == (tmp_path / "~" / "x" / "key").read_bytes() == b"data"
    assert root.url == f"file://{tmp_path}/a%20b%23c"


@pytest.mark.parametrize(
    ("url", "folder"),
    [
        ("file:///srv/a%20b%23c%3Fd", "/srv/a b#c?d"),
        ("file:///srv/a%2520b", "/srv/a%20b"),
        ("file:///srv/m%C3%BCller", "/srv/müller"),
        ("file:///srv/müller 日本", "/srv/müller 日本"),
        ("file://localhost/srv/root/", "/srv/root"),
        ("FILE:/srv/root", "/srv/root"),
    ],
)
def test_a_file_url_is_decoded_once(url: str, folder: str) -> None:
    assert RootLocation.parse(url) == RootLocation(folder=Path(folder)) == RootLocation.parse(folder)


@pytest.mark.parametrize(
    ("text", "folder"),
    [
        ("file:///nowhere/../srv", "/srv"),
        ("file:////srv//root/", "/srv/root"),
        ("file:///nowhere/%2E%2E/srv/./root", "/srv/root"),
        ("//srv//root", "/srv/root"),
        ("/srv/nowhere/../root", "/srv/root"),
        ("/../srv", "/srv"),
    ],
)
def test_one_folder_is_one_root_however_it_is_spelt(text: str, folder: str) -> None:
    assert RootLocation.parse(text) == RootLocation.parse(folder)
    assert RootLocation.parse(text).url == f"file://{folder}"
    assert RootLocation.parse(folder).is_meant_by(text)


def test_dots_go_up_from_where_a_link_leads(tmp_path: Path) -> None:
    (tmp_path / "far" / "folder").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "far" / "folder")
    for text in (f"{tmp_path}/link/../root", f"file://{tmp_path}/link/../root"):
        assert RootLocation.parse(text).folder == Path(os.path.realpath(tmp_path)) / "far" / "root"


def test_a_name_that_is_no_utf_8_comes_back() -> None:
    folder = os.fsdecode(b"/srv/\xff")
    assert RootLocation.parse(folder).url == "file:///srv/%FF"
    assert RootLocation.parse("file:///srv/%FF").folder == Path(folder)


@pytest.mark.parametrize(
    ("url", "remedy"),
    [
        ("file:///srv/a#b", "write '?' as %3F and '#' as %23 in a file URL, or give a plain path"),
        ("file:///srv/a?b", "write '?' as %3F and '#' as %23 in a file URL, or give a plain path"),
        ("file:///srv/root?", "write '?' as %3F and '#' as %23 in a file URL, or give a plain path"),
        ("file:///srv/100%", "write '%' as %25 in a file URL, or give a plain path"),
        ("file:///srv/%zz", "write '%' as %25 in a file URL, or give a plain path"),
        ("file://server/srv", "a file URL names no host, and 'server' would be one"),
        ("file://./root", "a file URL names no host"),
        ("file:root", "an absolute path"),
        ("file:///", "an absolute path"),
        ("file:///srv/..", "'..' leads to the top of the disk"),
        ("file:///srv/a%0Ab", "without control characters"),
        ("file:///srv/a%00b", "without control characters"),
        ("/srv/a\nb", "without line breaks"),
        ("s3://fleet/a?b", "is no storage key"),
        ("s3://fleet/a#b", "is no storage key"),
        ("s3://fleet/a%20b", "is no storage key"),
        ("s3://fleet/../b", "is no storage key"),
        ("s3://fleet?x/b", "a bucket has 3 to 63 letters"),
        ("s3://me:key@fleet/b", "a bucket has 3 to 63 letters"),
        ("s3:///root", "a bucket has 3 to 63 letters"),
        ("gs://fleet/root", "give file:///folder or s3://bucket/prefix"),
        ("run:1", "a path that begins like a URL is written ./run:1"),
    ],
)
def test_what_would_mean_another_place_is_refused_by_name(url: str, remedy: str) -> None:
    with pytest.raises(StorageRefused) as refused:
        open_root(url)
    assert str(refused.value).startswith(f"{url!r} is no storage root: ")
    assert remedy in str(refused.value)


def test_a_bucket_and_its_prefix() -> None:
    assert RootLocation.parse("s3://fleet/a/b/") == RootLocation(bucket="fleet", prefix="a/b")
    assert RootLocation.parse("s3://fleet/a/b/").url == "s3://fleet/a/b"
    assert RootLocation.parse("s3://fleet").url == "s3://fleet"


def test_a_root_that_was_joined_is_known_however_it_is_written(tmp_path: Path) -> None:
    (tmp_path / "joined_roots").write_text(f"file:///srv/a#b\n{tmp_path}/first\n")  # as earlier releases wrote it
    joined = JoinedRoots(tmp_path)
    joined.add(f"{tmp_path}/a b#c")
    joined.add(f"file://{tmp_path}/a%20b%23c/")
    joined.add(f"file://{tmp_path}/first")
    assert (tmp_path / "joined_roots").read_text().splitlines()[2:] == [f"file://{tmp_path}/a%20b%23c"]
    assert str(tmp_path / "a b#c") in JoinedRoots(tmp_path)
    assert "/srv/a" not in joined
