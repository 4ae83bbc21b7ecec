#!/usr/bin/env python3
"""Makes the small models beside this file, and what their own libraries make of texts.

    pip install torch transformers sentence-transformers model2vec
    python crates/mereo-text/tests/golden/make.py

Weights are random, wide enough that every part of a model matters. The vocabulary is made for the texts: letters, some words and some pieces.
expected.json: for each model the token ids of each text and the embedding, by sentence-transformers (model2vec for `table`);
for `cased` and `uncased` the ids of tokenizers' BertWordPieceTokenizer alone.
"""

import json
import pathlib
import shutil

import numpy as np
import torch
from model2vec import StaticModel
from safetensors.numpy import save_file
from sentence_transformers import SentenceTransformer
from tokenizers import BertWordPieceTokenizer
from transformers import BertConfig, BertModel, DistilBertConfig, DistilBertModel, MPNetConfig, MPNetModel

HERE = pathlib.Path(__file__).resolve().parent
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
SMALL = SPECIAL + ["the", "of", "gala", "##xy", "##xies", "star", "##s", "form", "##ation", ".", ",", "a", "un", "##form", "##ed", "in", "dust", "##y", "light", "old", "-", "early", "universe", "is", "##a"]
# MPNet's padding is number 1, which has no place among the tokens of a text.
PADDED = ["[UNK]", "[PAD]"] + SMALL[2:]
LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789äéßσςıіжя中文字한국のカ€√α🤖🥰"
LARGE = (
    SPECIAL
    + list(LETTERS)
    + ["##" + c for c in LETTERS]
    + list("!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~¿«»—’…。、")
    + "the galaxy Galaxy un ##aff ##able naive cafe resume don ##t ##ing sparse auto ##encoder ##encoders strasse istanbul na ##ive".split()
)
TEXTS = [
    "The galaxy.",
    "Galaxies of the early universe, stars in dusty light.",
    "",
    "Unformed stars",
    "Zebra stars",
    "Old, old, old stars: a formation - the [MASK] of galaxies [SEP] is uniform.",
    "the star " * 40,
    "a",
]
TRICKY = [
    "UNAFFABLE autoencoders don't; naïve café-résumé (e.g. x_1 = 3.5%)!",
    "Zero\u200bwidth, soft\u00adhyphen, BOM\ufeff, nul\0, bell\x07, del\x7f, vertical\x0btab, form\x0cfeed, next\x85line",
    "tabs\tand\nlines\r\nand\u00a0no\u2003break\u3000spaces",
    "中文字 mixed中with文latin字 のカ 한국 ｆｕｌｌ．",
    "Straße STRASSE ﬁne İstanbul ıI ΑΣ σς Ж я Ångström e\u0301 ä a\u0308",
    "emoji 🤖🥰 and \ue000 private \ufffd broken \U0001fae8 new",
    "[CLS] the [SEP][MASK] [cls] galaxy[PAD]x [UNK] [unknown]",
    "¿qué? «sparse» — it’s… 。、 ~`^$+<=>|€√",
    "a" * 100 + " " + "a" * 101,
    "  leading and trailing  ",
    "",
    "\u0301\u0301 alone",
    "x\u0903y \u0940 \u20dd \u3099 \u0e38",
]


def vocab(folder, pieces):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.txt").write_text("\n".join(pieces) + "\n", encoding="utf-8")


def put(folder, name, value):
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, indent=1) + "\n")


def wide(model):
    """Random weights of a spread at which no part of the model is nearly a constant."""
    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for name, p in model.named_parameters():
            spread = 0.3 if "Norm" in name or "layer_norm" in name else 0.6
            p.copy_(torch.randn(p.shape, generator=generator) * spread + (1.0 if "orm.weight" in name else 0.0))
    return model.eval()


def sentence(name, model, pooling, normalise, longest, json_tokens, pieces=SMALL):
    """A folder as sentence-transformers has it; embeddings by it."""
    folder = HERE / name
    shutil.rmtree(folder, ignore_errors=True)
    vocab(folder, pieces)
    model.save_pretrained(folder)
    modules = [("", "Transformer"), ("1_Pooling", "Pooling")] + ([("2_Normalize", "Normalize")] if normalise else [])
    put(folder, "modules.json", [{"idx": i, "name": str(i), "path": p, "type": f"sentence_transformers.models.{t}"} for i, (p, t) in enumerate(modules)])
    modes = ["cls_token", "mean_tokens", "max_tokens", "mean_sqrt_len_tokens"]
    put(folder, "1_Pooling/config.json", {"word_embedding_dimension": 8, **{f"pooling_mode_{m}": m == pooling for m in modes}})
    put(folder, "sentence_bert_config.json", {"max_seq_length": longest, "do_lower_case": False})
    put(folder, "tokenizer_config.json", {"tokenizer_class": "BertTokenizer", "do_lower_case": True, "model_max_length": longest})
    tokens = BertWordPieceTokenizer(str(folder / "vocab.txt"), lowercase=True)
    tokens.save(str(folder / "tokenizer.json"))
    encoder = SentenceTransformer(str(folder), device="cpu")
    encoder.max_seq_length = longest
    ids = [encoder.tokenizer(t, truncation=True, max_length=longest)["input_ids"] for t in TEXTS]
    rows = encoder.encode(TEXTS, batch_size=1).astype(np.float64)
    together = encoder.encode(TEXTS).astype(np.float64)
    assert np.abs(rows - together).max() < 1e-5
    if json_tokens:
        (folder / "vocab.txt").unlink()
        (folder / "tokenizer_config.json").unlink()
    else:
        (folder / "tokenizer.json").unlink()
    return {"texts": TEXTS, "ids": ids, "rows": [[round(v, 8) for v in r] for r in rows.tolist()]}


def table():
    folder = HERE / "table"
    shutil.rmtree(folder, ignore_errors=True)
    vocab(folder, SMALL)
    tokens = BertWordPieceTokenizer(str(folder / "vocab.txt"), lowercase=True)
    tokens.save(str(folder / "tokenizer.json"))
    (folder / "vocab.txt").unlink()
    generator = np.random.default_rng(3)
    save_file({"embeddings": generator.normal(size=(len(SMALL), 6)).astype(np.float32)}, folder / "model.safetensors")
    put(folder, "config.json", {"model_type": "model2vec", "architectures": ["StaticModel"], "normalize": True, "hidden_dim": 6})
    texts = [t for t in TEXTS if t]
    rows = StaticModel.from_pretrained(str(folder)).encode(texts).astype(np.float64)
    return {"texts": texts, "rows": [[round(v, 8) for v in r] for r in rows.tolist()]}


def main():
    torch.set_grad_enabled(False)
    same = {"vocab_size": len(SMALL), "hidden_size": 8, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 16}
    bert = BertModel(BertConfig(**same, max_position_embeddings=48), add_pooling_layer=False)
    distilbert = DistilBertModel(DistilBertConfig(vocab_size=len(SMALL), dim=8, n_layers=2, n_heads=2, hidden_dim=16, max_position_embeddings=24))
    mpnet = MPNetModel(MPNetConfig(**same, max_position_embeddings=82, layer_norm_eps=1e-5, pad_token_id=1), add_pooling_layer=False)
    expected = {
        "bert": sentence("bert", wide(bert), "mean_tokens", True, 40, True),
        "distilbert": sentence("distilbert", wide(distilbert), "cls_token", False, 24, False),
        "mpnet": sentence("mpnet", wide(mpnet), "max_tokens", False, 80, False, PADDED),
        "table": table(),
    }
    folder = HERE / "pieces"
    vocab(folder, list(dict.fromkeys(LARGE)))
    for name, lower in [("uncased", True), ("cased", False)]:
        tokens = BertWordPieceTokenizer(str(folder / "vocab.txt"), lowercase=lower)
        expected[name] = {"texts": TRICKY, "ids": [tokens.encode(t).ids for t in TRICKY]}
    (HERE / "expected.json").write_text(json.dumps(expected, ensure_ascii=True) + "\n")


main()
