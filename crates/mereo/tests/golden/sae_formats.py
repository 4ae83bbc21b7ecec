#!/usr/bin/env python3
"""Writes sae/: small sparse autoencoders saved by their own libraries, and in cases.json the codes and rebuilt rows of those libraries.

    pip install torch numpy einops jaxtyping safetensors simple-parsing packaging typing_extensions
    pip install --no-deps sae-lens eai-sparsify dictionary-learning hypothesaes
    pip install --no-deps --target V5 sae-lens==5.11.0
    python sae_formats.py --saelens5 V5 --openai model.py --saerch topk_sae.py    # of openai/sparse_autoencoder, Christine8888/saerch

Made with torch 2.15.0, sae-lens 6.54.12 and 5.11.0, eai-sparsify 1.3.3, dictionary-learning 0.1.0, hypothesaes 2.0.1.

With `--check MEREO`, the path of the program, nothing is written to sae/: every file there goes through `mereo convert` into every
format, the library of that format loads it and encodes the same rows, and the largest difference to the codes of the library that
the file came from is printed. What mereo refuses is printed with its reason.

Language models, data sets, hubs and trackers, which these libraries import but no autoencoder needs, are replaced by empty modules.
"""

import argparse
import importlib.abc
import importlib.machinery
import importlib.util
import json
import os
import pathlib
import pickle
import subprocess
import sys
import tempfile
import types

import numpy as np
import torch

HERE = pathlib.Path(__file__).parent / "sae"
D, N, ROWS, K = 6, 16, 10, 4
EMPTY = {"transformer_lens", "transformers", "datasets", "huggingface_hub", "wandb", "nnsight", "plotly", "pandas", "zstandard", "requests", "schedulefree",
         "accelerate", "automated_interpretability", "bitsandbytes", "matplotlib", "natsort", "nltk", "typer", "tenacity", "babe", "dotenv"}


class Nothing:
    def __init__(self, *args, **kwargs):
        pass

    def __class_getitem__(cls, item):
        return cls

    def __getattr__(self, name):
        return Nothing()

    def __call__(self, *args, **kwargs):
        return Nothing()


class HookPoint(torch.nn.Module):
    def forward(self, x):
        return x


class HookedRootModule(torch.nn.Module):
    def setup(self):
        pass


class Empty(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    def find_spec(self, name, path, target=None):
        return importlib.machinery.ModuleSpec(name, self, is_package=True) if name.split(".")[0] in EMPTY else None

    def create_module(self, spec):
        module = types.ModuleType(spec.name)
        known = {"HookPoint": HookPoint, "HookedRootModule": HookedRootModule}

        def attribute(name):
            if name.startswith("__"):
                raise AttributeError(name)
            return known.get(name) or type(name, (Nothing,), {})

        module.__getattr__ = attribute
        return module

    def exec_module(self, module):
        pass


sys.meta_path.insert(0, Empty())
ap = argparse.ArgumentParser()
ap.add_argument("--saelens5", help="folder with version 5 of sae-lens")
ap.add_argument("--openai", help="sparse_autoencoder/model.py of OpenAI")
ap.add_argument("--saerch", help="saerch/topk_sae.py of saerch")
ap.add_argument("--check", metavar="MEREO", help="the program to check")
ap.add_argument("--one", nargs=3, metavar=("FORMAT", "PATH", "OUT"), help=argparse.SUPPRESS)
ap.add_argument("--save5", nargs=3, metavar=("PATH", "SEED", "CONFIG"), help=argparse.SUPPRESS)
args = ap.parse_args()


def source(path, name):
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def version5(*line):
    """This script again, with version 5 of SAELens."""
    path = os.pathsep.join([args.saelens5, os.environ.get("PYTHONPATH", "")])
    subprocess.run([sys.executable, __file__, *line], check=True, env={**os.environ, "PYTHONPATH": path})


def save5(path, seed, more):
    from sae_lens.sae import SAE, SAEConfig

    torch.manual_seed(int(seed))
    config = {"d_in": D, "d_sae": N, "apply_b_dec_to_input": True, "finetuning_scaling_factor": False, "context_size": 1,
              "model_name": "none", "hook_name": "none", "hook_layer": 0, "hook_head_index": None, "prepend_bos": False,
              "dataset_path": "none", "dataset_trust_remote_code": False, "normalize_activations": "none", "dtype": "torch.float32",
              "device": "cpu", "sae_lens_training_version": None, **json.loads(more)}
    noise(SAE(SAEConfig(**config))).save_model(path)


def hypothesaes():
    """The model alone: its package asks for clients of language models."""
    folder = pathlib.Path(importlib.util.find_spec("hypothesaes").origin).parent
    return source(folder / "sae.py", "hypothesaes_sae").SparseAutoencoder


def rows():
    return torch.randn(ROWS, D, generator=torch.Generator().manual_seed(1))


def dictionary(path):
    """As dictionary_learning.utils.load_dictionary, whose module imports language models."""
    from dictionary_learning import dictionary as kinds
    from dictionary_learning.trainers.batch_top_k import BatchTopKSAE
    from dictionary_learning.trainers.matryoshka_batch_top_k import MatryoshkaBatchTopKSAE
    from dictionary_learning.trainers.top_k import AutoEncoderTopK

    trainer = json.loads((path / "config.json").read_text())["trainer"]
    name, weights = trainer["dict_class"], str(path / "ae.pt")
    topk = {"AutoEncoderTopK": AutoEncoderTopK, "BatchTopKSAE": BatchTopKSAE, "MatryoshkaBatchTopKSAE": MatryoshkaBatchTopKSAE}
    if name in topk:
        return topk[name].from_pretrained(weights, k=trainer["k"], device="cpu")
    return getattr(kinds, name).from_pretrained(weights, device="cpu")


@torch.no_grad()
def load(form, path):
    """Codes and rebuilt rows of the library `form`, from what lies at `path`."""
    x, path = rows(), pathlib.Path(path)
    if form == "saelens-v5" and not args.one:
        with tempfile.NamedTemporaryFile(suffix=".npz") as out:
            version5("--one", form, str(path), out.name)
            both = np.load(out.name)
            return both["codes"], both["back"]
    if form in ("saelens", "saelens-v5"):
        from sae_lens import SAE

        sae = (SAE.load_from_pretrained if args.one else SAE.load_from_disk)(str(path))
        if hasattr(sae, "topk_threshold") or getattr(sae.cfg, "architecture", "") == "batchtopk":
            raise RuntimeError("a training checkpoint")
        codes = sae.encode(x)
        back = sae.decode(codes)
    elif form == "sparsify":
        from sparsify.sparse_coder import SparseCoder

        sae = SparseCoder.load_from_disk(path).float()
        out = sae.encode(x)
        codes = torch.zeros(ROWS, sae.num_latents).scatter_(1, out.top_indices, out.top_acts)
        back = codes @ sae.W_dec + sae.b_dec
    elif form == "dictionary-learning":
        sae = dictionary(path)
        codes = sae.encode(x)
        back = sae.decode(codes)
    elif form == "openai":
        # Its state_dict names k and postact_fn once more, as entries of a module, which its own loader doesn't take.
        state = {k: v for k, v in torch.load(path).items() if not k.startswith("activation.")}
        sae = source(args.openai, "openai_model").Autoencoder.from_state_dict(state)
        codes, info = sae.encode(x)
        back = sae.decode(codes, info)
    elif form == "saerch":
        state = torch.load(path)
        n, d = state["encoder.weight"].shape
        k = int(path.name.split("_")[0])
        sae = source(args.saerch, "saerch_model").FastAutoencoder(n, d, k, n, 4 * k)
        sae.load_state_dict(state)
        pre = sae.encoder(x - sae.pre_bias) + sae.latent_bias
        values, indices = torch.topk(pre, k)  # as in its forward, whose own 4 k is more than all latents here
        codes = torch.zeros_like(pre).scatter_(1, indices, values.relu())
        back = sae.decoder(codes) + sae.pre_bias
    elif form == "hypothesaes":
        saved = torch.load(path, pickle_module=pickle)
        sae = hypothesaes()(**saved["config"], device="cpu")
        sae.load_state_dict(saved["state_dict"])
        sae.eval()
        back, info = sae(x)
        codes = info["activations"]
    elif form == "gemma-scope":
        with np.load(path) as params:
            p = {name: torch.tensor(params[name]).float() for name in params}
        pre = x @ p["W_enc"] + p["b_enc"]
        codes = (pre > p["threshold"]) * pre.relu()  # as in the tutorial of Gemma Scope
        back = codes @ p["W_dec"] + p["b_dec"]
    return codes.numpy(), back.numpy()


def noise(module, scale=0.5):
    """Random weights, biases too, and atoms that aren't unit."""
    with torch.no_grad():
        for name, p in module.named_parameters():
            if name.endswith(("W_dec", "decoder.weight")):
                p.copy_(torch.randn_like(p))
            elif name == "threshold":
                p.copy_(torch.rand_like(p))
            else:
                p.copy_(scale * torch.randn_like(p))
    return module


def short(m):
    """The fewest digits that are read as the same 32-bit floats."""
    return [[float(str(v)) for v in row] for row in np.asarray(m, "f4")]


def write():
    cases = []
    HERE.mkdir(exist_ok=True)

    def place(name):
        torch.manual_seed(len(cases))
        return HERE / name

    def case(form, path, both=None):
        codes, back = both or load(form, path)
        assert (codes > 0).any() and not (codes > 0).all(), path
        cases.append({"format": form, "path": path.name, "codes": short(codes), "back": short(back)})

    import sae_lens.saes as kinds
    from safetensors.torch import save_file

    def lens(name, cls, config, **more):
        path = place(name)
        sae = noise(cls(config(d_in=D, d_sae=N, **more)))
        sae.save_model(path)
        case("saelens", path)

    lens("saelens_standard", kinds.StandardSAE, kinds.StandardSAEConfig)
    lens("saelens_topk", kinds.TopKSAE, kinds.TopKSAEConfig, k=K, rescale_acts_by_decoder_norm=True)
    lens("saelens_layer_norm", kinds.TopKSAE, kinds.TopKSAEConfig, k=K, normalize_activations="layer_norm")
    lens("saelens_jumprelu", kinds.JumpReLUSAE, kinds.JumpReLUSAEConfig, apply_b_dec_to_input=False)
    lens("saelens_gated", kinds.GatedSAE, kinds.GatedSAEConfig)

    def training(name, cls, config, **more):
        """A checkpoint of a training, whose codes are those of what it saves for inference."""
        path = place(name)
        sae = noise(cls(config(d_in=D, d_sae=N, k=K, **more)))
        sae.topk_threshold = torch.tensor(0.75, dtype=torch.double)
        sae.save_model(path)
        save_file({"sparsity": torch.log10(torch.rand(N) / 2)}, path / "sparsity.safetensors")
        with tempfile.TemporaryDirectory() as folder:
            sae.fold_W_dec_norm()
            sae.save_inference_model(folder)
            case("saelens", path, load("saelens", folder))

    training("saelens_batchtopk", kinds.BatchTopKTrainingSAE, kinds.BatchTopKTrainingSAEConfig)
    training("saelens_matryoshka", kinds.MatryoshkaBatchTopKTrainingSAE, kinds.MatryoshkaBatchTopKTrainingSAEConfig, matryoshka_widths=[4, N])

    def lens5(name, **more):
        path = place(name)
        version5("--save5", str(path), str(len(cases)), json.dumps(more))
        case("saelens-v5", path)

    lens5("saelens5_topk", architecture="topk", activation_fn_str="topk", activation_fn_kwargs={"k": K})
    lens5("saelens5_jumprelu", architecture="jumprelu", activation_fn_str="relu")

    from sparsify.config import SparseCoderConfig
    from sparsify.sparse_coder import SparseCoder

    for name, dtype in (("topk", torch.bfloat16), ("groupmax", torch.float32)):
        path = place(f"sparsify_{name}")
        noise(SparseCoder(D, SparseCoderConfig(num_latents=N, k=K, activation=name), dtype=dtype)).save_to_disk(path)
        case("sparsify", path)

    from dictionary_learning import dictionary as dl
    from dictionary_learning.trainers.batch_top_k import BatchTopKSAE
    from dictionary_learning.trainers.matryoshka_batch_top_k import MatryoshkaBatchTopKSAE
    from dictionary_learning.trainers.top_k import AutoEncoderTopK

    def learned(make, **more):
        torch.manual_seed(len(cases))
        sae = noise(make())
        path = place(f"dictionary_{type(sae).__name__}")
        path.mkdir(exist_ok=True)
        if hasattr(sae, "group_sizes") or isinstance(sae, BatchTopKSAE):
            sae.threshold.fill_(0.75)
        double = isinstance(sae, dl.GatedAutoEncoder)
        torch.save({k: v.double() if double else v for k, v in sae.state_dict().items()} if double else sae.state_dict(), path / "ae.pt")
        trainer = {"dict_class": type(sae).__name__, "activation_dim": D, "dict_size": N, "layer": 0, "lm_name": "none", **more}
        (path / "config.json").write_text(json.dumps({"trainer": trainer, "buffer": {"ctx_len": 1}}))
        case("dictionary-learning", path)

    learned(lambda: dl.AutoEncoder(D, N))
    learned(lambda: dl.AutoEncoderNew(D, N))
    learned(lambda: dl.JumpReluAutoEncoder(D, N))
    learned(lambda: dl.GatedAutoEncoder(D, N))
    learned(lambda: AutoEncoderTopK(D, N, K), k=K)
    learned(lambda: BatchTopKSAE(D, N, K), k=K)
    learned(lambda: MatryoshkaBatchTopKSAE(D, N, K, [4, N - 4]), k=K)

    openai = source(args.openai, "openai_model")
    for name, activation, half in (("topk", openai.TopK(K), False), ("relu", torch.nn.ReLU(), True)):
        path = place(f"openai_{name}.pt")
        sae = noise(openai.Autoencoder(N, D, activation, normalize=name == "topk"))
        state = sae.state_dict()
        torch.save({k: v.half() if half and torch.is_tensor(v) and v.is_floating_point() else v for k, v in state.items()}, path)
        case("openai", path)

    path = place(f"{K}_{N}_8_auxk_epoch_1.pth")
    torch.save(noise(source(args.saerch, "saerch_model").FastAutoencoder(N, D, K, 8, None)).state_dict(), path)
    case("saerch", path)

    for name, more in (("topk", {}), ("batch", {"use_batch_topk": True, "prefix_lengths": [4, N]})):
        path = place(f"hypothesaes_{name}.pt")
        sae = noise(hypothesaes()(D, N, K, device="cpu", **more))
        sae.threshold.fill_(0.75)
        sae.save(str(path))
        case("hypothesaes", path)

    path = place("gemma_params.npz")
    r = np.random.default_rng(5)
    normal = lambda *shape: r.normal(size=shape).astype("f4")  # noqa: E731
    np.savez(path, W_enc=normal(D, N), W_dec=normal(N, D), b_enc=normal(N), b_dec=normal(D), threshold=np.abs(normal(N)))
    case("gemma-scope", path)

    (HERE / "cases.json").write_text(json.dumps({"x": short(rows().numpy()), "cases": cases}, separators=(",", ":")))


def check():
    forms = ["saelens", "saelens-v5", "sparsify", "dictionary-learning", "openai", "saerch", "hypothesaes", "gemma-scope"]
    worst, refused, classes, bad = {}, {}, {}, 0
    for case in json.loads((HERE / "cases.json").read_text())["cases"]:
        for form in forms:
            with tempfile.TemporaryDirectory() as folder:
                folder = pathlib.Path(folder)
                name = {"openai": "a.pt", "hypothesaes": "a.pt", "gemma-scope": "a.npz", "saerch": f"{K}_{N}.pth"}.get(form, "a")
                run = lambda *a: subprocess.run([args.check, "convert", *map(str, a)], capture_output=True, text=True)  # noqa: E731
                # Through a model of mereo, too.
                first = run(HERE / case["path"], folder / "a.mereo")
                assert first.returncode == 0, first.stderr
                done = run(folder / "a.mereo", folder / name, "--to", form)
                if done.returncode and "call it" in done.stderr:
                    name = f"{N}_{N}.pth"
                    done = run(folder / "a.mereo", folder / name, "--to", form)
                if done.returncode:
                    refused.setdefault((form, done.stderr.split(" has no way to say ")[-1].split(";")[0]), []).append(case["path"])
                    continue
                codes, back = load(form, folder / name)
                off = max(np.abs(codes - case["codes"]).max(), np.abs(back - case["back"]).max())
                worst.setdefault(form, []).append(off)
                if not off < 1e-5:
                    bad += 1
                    print(f"{case['path']} as {form}: {off:.1e}")
                if form == "dictionary-learning":
                    name = json.loads((folder / name / "config.json").read_text())["trainer"]["dict_class"]
                    classes[name] = classes.get(name, 0) + 1
    print("classes of dictionary-learning:", ", ".join(f"{name} {n}" for name, n in sorted(classes.items())))
    for form in forms:
        print(f"{form:20} {len(worst[form]):3} autoencoders, largest difference of codes and rebuilt rows {max(worst[form]):.1e}")
    for (form, why), paths in refused.items():
        print(f"{form:20} refuses {len(paths)}: {why}")
    sys.exit(bad > 0)


if args.one:
    codes, back = load(*args.one[:2])
    np.savez(args.one[2], codes=codes, back=back)
elif args.save5:
    save5(*args.save5)
elif args.check:
    check()
elif __name__ == "__main__" and args.openai:
    write()
