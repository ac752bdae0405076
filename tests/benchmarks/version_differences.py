"""What differs between two files or two tables, for ``compare_versions``; what is left out is listed here.

Files are compared byte for byte, TIFF files by pixels and tags, tables field by field. Each function yields a text
for each difference.
"""

from __future__ import annotations

import csv
import io
import json
import logging
import re
import struct
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping
from importlib.util import find_spec
from io import BytesIO
from typing import Any

import imagecodecs
import numpy as np
import tifffile
from PIL import Image, ImageFilter, ImageSequence

logging.getLogger("tifffile").setLevel(logging.CRITICAL)  # odd tags are meant

# What is left out of the comparison, and why. Nothing else is.

#: Fields of reports, of ``report --json`` and of ``tune --json``.
LEFT_OUT_FIELDS = {
    "seconds": "run times differ from run to run",
    "sha256": "the digest of a replaced file, which holds the version in its record; that there is one is compared",
    "reason": "wording; whether there is a reason is compared",
    "notes": "wording; whether there are notes is compared. Of shared parameters they name the sources, which is data",
}
#: Tags of TIFF files; all others are compared in all directories, with their types and numbers of values.
LEFT_OUT_TAGS = {
    273: "StripOffsets: where the pixels lie; the pixels themselves are compared",
    278: "RowsPerStrip: how pixels are cut into strips is the writer's choice",
    279: "StripByteCounts: as RowsPerStrip; compressed sizes follow from the encoder",
    288: "FreeOffsets: unused room in the file",
    289: "FreeByteCounts: unused room in the file",
    324: "TileOffsets: as StripOffsets",
    325: "TileByteCounts: as StripByteCounts",
    50838: "IJMetadataByteCounts: lengths of parts of IJMetadata",
}
#: Tags whose type may differ, as readers take any (16 or 32 bits), with the value that stands for their absence.
LAYOUT_TAGS: dict[int, Any] = {
    254: (0,), 256: None, 257: None, 258: None, 259: (1,), 262: None, 266: (1,), 277: (1,), 284: (1,), 317: (1,),
    322: None, 323: None, 338: None, 339: (1,), 330: None, 34665: None, 34853: None, 40965: None,
}  # fmt: skip
OTHERS_LEFT_OUT = {
    "standard error": "messages are wording; a traceback that only one version shows is a difference",
    "help and --version": "wording; never asked for",
    "the version in a record of parameters": "it is what differs. Its fields are compared one by one, and the file "
    "without it byte for byte",
    "the order of a report's lines": "files that end at the same time come in any order",
    "the slowest files of a report": "run times again; how many are named is compared",
    "tables for people (report without --json, heads of noise)": "wording; the numbers are in --json",
    "the last column of --dry-run": "the reason, as in reports",
    "printed commands of tune": "the order of options means nothing, and anisotropic is another name of componentwise",
    "byte order and bytes of TIFF files": "two writers lay out files differently; pixels, tags, BigTIFF or not, "
    "series with their axes, and whether uncompressed pixels lie in one block are compared",
    "words on contact sheets": "wording; the shape of the sheet and all images on it are compared",
    "the text Description of a residual": "wording; the pixels show its gain",
    "plots": "drawings of numbers and words; kind and size are compared",
}
RECORD = re.compile(rb"tvdenoise [0-9][\w.+-]*(?:; \w+=[\w.+-]+)+")
SYNONYMS = {"anisotropic": "componentwise"}


# Tables: rows by their names, whatever their format

Table = dict[str, Any]


def table_differences(kind: str, old: bytes, new: bytes) -> Iterator[str]:
    """Between two tables of a kind in ``TABLES``.

    There is one for each row that only one table has, and one for each field, however many rows differ there.
    """
    yield from _row_differences(*(_table(TABLES[kind], contents) for contents in (old, new)))


def _table(read: Callable[[bytes], Table], contents: bytes) -> Table:
    """As plain text where it cannot be read so."""
    try:
        return read(contents)
    except (ValueError, LookupError, AttributeError, TypeError, csv.Error) as error:
        return {
            "(not such a table)": {
                "because of": type(error).__name__,
                "text": contents.decode(errors="replace"),
            }
        }


def _row_differences(old: Table, new: Table) -> Iterator[str]:
    for name in sorted(old.keys() ^ new.keys()):
        yield f"only {'old' if name in old else 'new'} has a row {name!r}"
    found: dict[str, list[tuple[str, str]]] = defaultdict(list)
    common = [name for name in old if name in new]
    if common != [name for name in new if name in old]:
        yield "the rows have another order"
    for name in common:
        before, after = (dict(_flat(table[name])) for table in (old, new))
        for place in [*before, *(place for place in after if place not in before)]:
            values = [repr(each[place]) if place in each else "nothing" for each in (before, after)]
            if values[0] != values[1]:
                found[re.sub(r"\d+", "N", place)].append((name, " → ".join(map(_short, values))))
    for place, rows in found.items():
        yield f"{place or 'value'} differs in {len(rows)} place{'s' * (len(rows) > 1)}, {rows[0][0]!r}: {rows[0][1]}"


def _short(text: str) -> str:
    return text if len(text) <= 160 else f"{text[:75]} … {text[-75:]}"


def _flat(value: Any, place: str = "") -> Iterator[tuple[str, Any]]:
    """The numbers and texts in nested lists and mappings, with where they stand."""
    if isinstance(value, Mapping):
        yield f"{place}{{}}", None
        for name, inside in value.items():
            yield from _flat(inside, f"{place}.{name}" if place else str(name))
    elif isinstance(value, list | tuple):
        yield f"{place}[]", len(value)
        for number, inside in enumerate(value):
            yield from _flat(inside, f"{place}[{number}]")
    else:
        yield place, value


def _presence(entry: Mapping[str, Any]) -> dict[str, Any]:
    """An entry of a report, of fields that are left out only whether they hold anything."""
    kept = dict(entry)
    for name in LEFT_OUT_FIELDS:
        if name in kept and not (name == "notes" and kept.get("status") == "parameters"):
            kept[name] = "something" if kept[name] not in (None, "") else "nothing"
    return kept


def report_table(contents: bytes) -> Table:
    """A report, as JSON or CSV: several lines about a file are numbered, and all lines sorted."""
    text = contents.decode("utf-8", "surrogateescape")
    found: Table = {}
    if text.startswith("{"):
        entries = [json.loads(line) for line in text.splitlines()]
    else:
        rows = list(csv.reader(io.StringIO(text, newline=""), strict=True))
        found["(columns)"] = rows[0]
        entries = [dict(zip(rows[0], row, strict=True)) for row in rows[1:]]
    count: Counter[str] = Counter()
    for entry in entries:
        name = str(entry.get("source") or entry.get("target") or f"channels {entry.get('channels')}")
        name = f"{entry['status'] if entry['status'] in ('replacing', 'parameters') else 'file'} {name}"
        count[name] += 1
        found[f"{name} #{count[name]}"] = _presence(entry)
    return dict(sorted(found.items()))


def account_table(contents: bytes) -> Table:
    """``report --json``."""
    account = json.loads(contents)
    account["seconds"] = "left out"
    account["quantiles"].pop("seconds", None)
    account["slowest"] = len(account["slowest"])
    for name in ("files_failed", "files_not_converged"):
        account[name] = sorted((_presence(each) for each in account[name]), key=lambda each: each["source"])
    return {"report": account}


def json_table(contents: bytes) -> Table:
    """A line of JSON an image."""
    found: Table = {}
    for line in contents.decode().splitlines():
        entry = json.loads(line)
        for cell in entry.get("cells", ()):
            cell["command"] = _options_of(cell["command"])
        found[_free(found, str(entry.get("source") or entry.get("image")))] = entry
    return found


def _free(table: Table, name: str) -> str:
    """The name, with a number where it is taken."""
    return name if name not in table else f"{name} #{len(table)}"


def _options_of(command: str) -> list[str]:
    """The words of a command line, options sorted."""
    start, *options = re.split(r" (?=--)", command)
    words = [" ".join(SYNONYMS.get(word, word) for word in option.split()) for option in sorted(options)]
    return [start, *words]


def lines_table(contents: bytes) -> Table:
    """Lines of columns with tabs between them, the first being the name."""
    found: Table = {}
    for line in contents.decode().splitlines():
        name, *values = line.split("\t")
        found[_free(found, name)] = values
    return found


def plan_table(contents: bytes) -> Table:
    found = lines_table(contents)
    return {name: [*values[:-1], bool(values[-1])] for name, values in found.items()}


def cells_table(contents: bytes) -> Table:
    found = lines_table(contents)
    return {name: [*values[:-1], _options_of(values[-1])] for name, values in found.items()}


def noise_table(contents: bytes) -> Table:
    """The rows of a drawn table, without its heads."""
    rows = [line.strip("│ ").split("│") for line in contents.decode().splitlines() if line.startswith("│")]
    return {row[0].strip(): [cell.strip() for cell in row[1:]] for row in rows}


TABLES = {
    "json": json_table,
    "account": account_table,
    "lines": lines_table,
    "plan": plan_table,
    "cells": cells_table,
    "noise": noise_table,
    "report": report_table,
}


# Files


def differences(old: bytes, new: bytes, *, sheet: bool = False, path: str = "") -> Iterator[str]:
    """What differs between two files, by their contents."""
    if old == new:
        return
    if all(_is_tiff(contents) for contents in (old, new)):
        try:
            yield from tiff_differences(old, new)
        except Exception as error:  # noqa: BLE001  # readers raise anything, and both files are to be compared
            yield f"{len(old)} → {len(new)} bytes, of which not both can be read ({type(error).__name__}: {error})"
        return
    if path.endswith(("plot.png", "trace.png")):
        sizes = [_size(contents) for contents in (old, new)]
        if sizes[0] != sizes[1]:
            yield f"the plot's size {sizes[0]} → {sizes[1]}"
        return
    if sheet and (text := sheet_difference(old, new)) is not None:
        yield from filter(None, [text])
        return
    records, parts = zip(*(_parts(contents, "removed" in path) for contents in (old, new)), strict=True)
    yield from record_differences(*records)
    changed = [name for name in parts[0] if parts[0][name] != parts[1].get(name)]
    changed += [name for name in parts[1] if name not in parts[0]]
    if not changed and list(parts[0]) != list(parts[1]):
        yield "its parts have another order"
    if changed:
        yield f"{', '.join(changed)}: {_pixel_difference(old, new)}"


def _is_tiff(contents: bytes) -> bool:
    return contents[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


def _size(contents: bytes) -> tuple[int, int]:
    with Image.open(BytesIO(contents)) as opened:
        return opened.size


def record_differences(old: bytes | None, new: bytes | None) -> Iterator[str]:
    """Field by field: a new field is one difference, the same in all files."""
    if (old is None) != (new is None):
        yield f"only {'old' if new is None else 'new'} records the parameters"
    elif old is not None and new is not None:
        before, after = (
            dict(item.split("=", 1) for item in record.decode().split("; ")[1:]) for record in (old, new)
        )
        for name in sorted(before | after):
            if name not in before or name not in after:
                yield f"record: only {'old' if name in before else 'new'} has {name}"
            elif before[name] != after[name]:
                yield f"record: {name} {before[name]} → {after[name]}"


def _parts(contents: bytes, is_residual: bool) -> tuple[bytes | None, dict[str, Any]]:
    """The record of the parameters in a file, and what else it holds, by names.

    A record of another length changes checksums and lengths around it; so they are left out with it.
    """
    found: dict[str, Any]
    if contents.startswith(b"\x89PNG"):
        found = dict(_png_parts(contents, is_residual))
        return found.pop("record", None), found
    if contents.startswith(b"\xff\xd8"):
        found = dict(_jpeg_parts(contents))
        return found.pop("record", None), found
    record = RECORD.search(contents)
    if record is not None and contents.startswith(b"GIF8"):
        start = contents.rindex(b"!\xfe", 0, record.start())
        comment, end = _joined_blocks(contents, start + 2)
        found = {"contents": contents[:start] + contents[end:], "comment": RECORD.sub(b"", comment)}
    elif (
        record is not None
    ):  # JPEG 2000: a marker with its length before, and the length of the codestream's box
        start = record.start() - 6
        found = {
            "contents": re.sub(rb"....jp2c", b"jp2c", contents[:start] + contents[record.end() :], flags=re.S)
        }
    else:
        found = {"contents": contents}
    return record and record[0], found


def _joined_blocks(contents: bytes, place: int) -> tuple[bytes, int]:
    """The contents of a GIF's blocks from a place on, and where they end."""
    joined = b""
    while length := contents[place]:
        joined += contents[place + 1 : place + 1 + length]
        place += 1 + length
    return joined, place + 1


def _png_parts(contents: bytes, is_residual: bool) -> Iterator[tuple[str, Any]]:
    place, count = 8, Counter[str]()
    while place + 8 <= len(contents):
        length, kind = struct.unpack_from(">I4s", contents, place)
        value: Any = contents[place + 8 : place + 8 + length]
        place += 12 + length
        name = kind.decode("latin-1")
        if name in ("tEXt", "zTXt", "iTXt"):
            name += f" {value.partition(bytes(1))[0].decode('latin-1')}"
            if record := RECORD.search(value):
                yield "record", record[0]
                continue
            if is_residual and name.endswith(" Description"):
                value = "wording"
        count[name] += 1
        yield f"{name} #{count[name]}" if count[name] > 1 else name, value
    yield "what follows", contents[place:]


def _jpeg_parts(contents: bytes) -> Iterator[tuple[str, bytes]]:
    place, count = 2, Counter[str]()
    while contents[place : place + 1] == b"\xff" and contents[place + 1] != 0xDA:
        marker, length = struct.unpack_from(">HH", contents, place)
        value = contents[place + 4 : place + 2 + length]
        place += 2 + length
        if marker == 0xFFFE and RECORD.fullmatch(value):
            yield "record", value
            continue
        name = f"segment {marker:X}"
        count[name] += 1
        yield f"{name} #{count[name]}", value
    yield "scans and what follows", contents[place:]


def _pixel_difference(old: bytes, new: bytes) -> str:
    """How far the pixels differ, as far as they can be decoded."""
    try:
        before, after = _decoded(old), _decoded(new)
    except Exception as error:  # noqa: BLE001  # decoders raise anything, and the difference is known already
        return f"{len(old)} → {len(new)} bytes ({type(error).__name__} when decoded)"
    if [(each.shape, each.dtype) for each in before] != [(each.shape, each.dtype) for each in after]:
        return f"{[each.shape for each in before]} → {[each.shape for each in after]}"
    apart = [np.abs(a.astype(np.float64) - b.astype(np.float64)) for a, b in zip(before, after, strict=True)]
    count = sum(int(np.count_nonzero(each)) for each in apart)
    if not count:
        return f"equal pixels, other bytes ({len(old)} → {len(new)})"
    total = sum(each.size for each in apart)
    return f"{count} of {total} values differ, by at most {max(float(each.max()) for each in apart):g}"


def _decoded(contents: bytes) -> list[np.ndarray]:
    if contents.startswith(b"\x89PNG") and b"acTL" not in contents[:200]:
        return [imagecodecs.png_decode(contents)]
    if contents[4:8] == b"ftyp" and find_spec("pillow_heif") is not None:
        import pillow_heif

        pillow_heif.register_heif_opener()
    with Image.open(BytesIO(contents)) as opened:
        return [np.array(frame) for frame in ImageSequence.Iterator(opened)]


def sheet_difference(old: bytes, new: bytes) -> str | None:
    """What differs between the images on two contact sheets, "" if nothing, or None where they are no PNG."""
    if not all(contents.startswith(b"\x89PNG") for contents in (old, new)):
        return None
    with Image.open(BytesIO(old)) as first, Image.open(BytesIO(new)) as second:
        if (first.size, first.mode, first.info) != (second.size, second.mode, second.info):
            return f"the sheet is {first.size}, {first.mode} → {second.size}, {second.mode}, or its profile differs"
        before, after = (np.asarray(each.convert("RGB")).astype(int) for each in (first, second))
    paper = before[0, 0]
    # Letters leave the paper to be seen between them; images and frames do not.
    covered = Image.fromarray(np.where((before != paper).any(2), 255, 0).astype(np.uint8))
    is_image = np.asarray(covered.filter(ImageFilter.BoxBlur(9))) > 200
    apart = np.abs(before - after).max(2) * is_image
    if not apart.any():
        return ""
    return f"images on the sheet: {np.count_nonzero(apart)} pixels differ, by at most {apart.max()}"


# TIFF files, by their pixels and tags

_SIZES = {
    1: 1,
    2: 1,
    3: 2,
    4: 4,
    5: 8,
    6: 1,
    7: 1,
    8: 2,
    9: 4,
    10: 8,
    11: 4,
    12: 8,
    13: 4,
    16: 8,
    17: 8,
    18: 8,
}
_FORMS = {
    3: "H",
    4: "I",
    5: "I",
    8: "h",
    9: "i",
    10: "i",
    11: "f",
    12: "d",
    13: "I",
    16: "Q",
    17: "q",
    18: "Q",
}
_DIRECTORIES = {330: "sub-image", 34665: "EXIF", 34853: "GPS", 40965: "interoperability"}
_FOR_EACH_SAMPLE = (258, 339)  # one number for all samples is as good as one for each
_IMAGEJ = 50839
_RECORD_TAG = 11

Tags = dict[int, tuple[int, Any]]


def tiff_differences(old: bytes, new: bytes) -> Iterator[str]:
    """Between two TIFF files of any byte order and layout."""
    if (old[2:4] in (b"+\0", b"\0+")) != (new[2:4] in (b"+\0", b"\0+")):
        yield "one of them is a BigTIFF, the other not"
    before, after = (dict(_directories(contents)) for contents in (old, new))
    for name in sorted(before.keys() ^ after.keys()):
        yield f"only {'old' if name in before else 'new'} has the directory {name}"
    same_order = old[:2] == new[:2]
    for name in before.keys() & after.keys():
        for text in _tag_differences(before[name], after[name], same_order=same_order):
            yield text if name == "page 0" else f"{name}: {text}"
    yield from _tiff_pixel_differences(old, new)


def _directories(contents: bytes) -> Iterator[tuple[str, Tags]]:
    """All directories of a file with their names, and the tags in each."""
    order = "<" if contents[:2] == b"II" else ">"
    is_big = contents[2:4] in (b"+\0", b"\0+")
    place = struct.unpack_from(order + ("Q" if is_big else "I"), contents, 8 if is_big else 4)[0]
    seen: set[int] = set()
    number = 0
    while place and place not in seen:
        seen.add(place)
        tags, following = _directory(contents, place, order, is_big)
        yield from _with_inner(contents, f"page {number}", tags, order, is_big)
        place, number = following, number + 1


def _with_inner(
    contents: bytes, name: str, tags: Tags, order: str, is_big: bool
) -> Iterator[tuple[str, Tags]]:
    yield name, tags
    for tag, kind in _DIRECTORIES.items():
        if tag in tags:
            for number, place in enumerate(tags[tag][1]):
                inner, _ = _directory(contents, place, order, is_big)
                yield from _with_inner(contents, f"{name} {kind} {number}", inner, order, is_big)
            tags[tag] = (tags[tag][0], len(tags[tag][1]))  # how many there are


def _directory(contents: bytes, place: int, order: str, is_big: bool) -> tuple[Tags, int]:
    """Types and values of a directory's tags, and where the next one lies."""
    count_form, entry_form, next_form = ("Q", "HHQ8s", "Q") if is_big else ("H", "HHI4s", "I")
    count = struct.unpack_from(order + count_form, contents, place)[0]
    place += struct.calcsize(order + count_form)
    found: Tags = {}
    for _ in range(count):
        tag, kind, length, inline = struct.unpack_from(order + entry_form, contents, place)
        place += struct.calcsize(order + entry_form)
        size = _SIZES.get(kind, 1) * length
        if size > len(inline):
            start = struct.unpack(order + next_form, inline)[0]
            inline = contents[start : start + size]
        stored = inline[:size]
        form = _FORMS.get(kind)
        values = (
            stored if form is None else struct.unpack(f"{order}{size // struct.calcsize(form)}{form}", stored)
        )
        found[tag] = (kind, values)
    return found, struct.unpack_from(order + next_form, contents, place)[0]


def _tag_differences(old: Tags, new: Tags, *, same_order: bool) -> Iterator[str]:
    records = []
    for tags in (old, new):
        kind, text = tags.get(_RECORD_TAG, (2, b""))
        found = RECORD.search(text)
        records.append(found and found[0])
        if found is not None:
            tags[_RECORD_TAG] = (kind, RECORD.sub(b"", text))
    yield from record_differences(*records)
    for tag in sorted(old | new):
        if tag in LEFT_OUT_TAGS or (tag == _IMAGEJ and not same_order):  # tifffile compares what it says
            continue
        name = tifffile.TIFF.TAGS.get(tag, "tag")
        pair = [tags.get(tag, (None, None)) for tags in (old, new)]
        if tag in LAYOUT_TAGS:
            values = [LAYOUT_TAGS[tag] if value is None else value for _, value in pair]
            if tag in _FOR_EACH_SAMPLE:
                values = [value and tuple(dict.fromkeys(value)) for value in values]
            if values[0] != values[1]:
                yield f"{name} ({tag}): {_short(repr(values[0]))} → {_short(repr(values[1]))}"
        elif None in (pair[0][0], pair[1][0]):
            value = pair[0][1] if pair[1][0] is None else pair[1][1]
            yield f"{name} ({tag}): only in {'old' if pair[1][0] is None else 'new'}, {_short(repr(value))}"
        elif repr(pair[0]) != repr(pair[1]):  # NaN equals NaN
            kinds = "" if pair[0][0] == pair[1][0] else f"type {pair[0][0]} → {pair[1][0]}, "
            yield f"{name} ({tag}): {kinds}{_short(repr(pair[0][1]))} → {_short(repr(pair[1][1]))}"


def _tiff_pixel_differences(old: bytes, new: bytes) -> Iterator[str]:
    with tifffile.TiffFile(BytesIO(old)) as before, tifffile.TiffFile(BytesIO(new)) as after:
        if repr(before.imagej_metadata) != repr(after.imagej_metadata):
            yield "what ImageJ stores differs"
        described = [
            [(each.kind, each.axes, each.shape, str(each.dtype)) for each in f.series]
            for f in (before, after)
        ]
        if described[0] != described[1]:
            yield f"series {described[0]} → {described[1]}"
            return
        for number, pair in enumerate(zip(before.series, after.series, strict=True)):
            in_block = [series.dataoffset is not None for series in pair]
            if pair[0].keyframe.compression == 1 and in_block[0] and not in_block[1]:
                yield f"series {number}: the pixels lay in one block, and do so no more"
            first, second = (np.ascontiguousarray(series.asarray()) for series in pair)
            if first.tobytes() != second.tobytes():
                apart = np.abs(first.astype(np.float64) - second.astype(np.float64))
                count = np.count_nonzero(apart > 0)
                nans = np.count_nonzero(
                    np.isnan(first.astype(np.float64)) != np.isnan(second.astype(np.float64))
                )
                most = np.nanmax(apart) if apart.size else 0
                text = f"{count} of {apart.size} values differ, by at most {most:g}"
                yield f"pixels of series {number}: {text}" + (
                    f"; {nans} are NaN in one alone" if nans else ""
                )
