#!/usr/bin/env python3
"""Writes ae.json: five steps of SGD with momentum, Adam and AdamW of PyTorch on small autoencoders, in float64.

    pip install torch numpy && python ae.py        # made with torch 2.15.0

Weights and biases are in groups of their own, so that weight decay is of the weights alone.
"""

import json
import pathlib

import torch

torch.set_default_dtype(torch.float64)
G = {
    "linear": lambda a: a,
    "erf": lambda a: torch.erf(a / 2**0.5),
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
    "relu": torch.relu,
    "leaky-relu": lambda a: torch.nn.functional.leaky_relu(a, 0.01),
    "softplus": torch.nn.functional.softplus,
}
N, D, K = 8, 6, 3


def case(seed, optimizer, activation, tied, scaled, lr, weight_decay, l1):
    torch.manual_seed(seed)
    x = torch.randn(N, D).float().double()
    w = (0.5 * torch.randn(K, D)).float().double().requires_grad_()
    v = w if tied else (0.5 * torch.randn(K, D)).float().double().requires_grad_()
    b = (0.3 * torch.randn(K)).float().double().requires_grad_()
    c = (0.3 * torch.randn(D)).float().double().requires_grad_()
    weights = [w] if tied else [w, v]
    every = lambda: [float(p) for t in [*weights, b, c] for p in t.detach().flatten()]  # noqa: E731
    groups = [{"params": weights, "weight_decay": weight_decay}, {"params": [b, c], "weight_decay": 0.0}]
    how = {"sgd": lambda: torch.optim.SGD(groups, lr=lr, momentum=0.9), "adam": lambda: torch.optim.Adam(groups, lr=lr),
           "adamw": lambda: torch.optim.AdamW(groups, lr=lr)}[optimizer]()
    start, steps = every(), []
    for _ in range(5):
        how.zero_grad()
        h = G[activation]((x @ w.T + b) * (D**-0.5 if scaled else 1.0))
        loss = torch.nn.functional.mse_loss(h @ v + c, x)
        (loss + l1 * h.abs().mean()).backward()
        how.step()
        steps.append({"loss": float(loss), "params": every()})
    ae = {"k": K, "activation": activation, "tied": tied, "scaled": scaled, "normalize": False, "optimizer": optimizer, "momentum": 0.9,
          "lr": lr, "weight_decay": weight_decay, "l1": l1, "batch": N, "max_passes": 5, "decay": "none"}
    return {"ae": ae, "x": x.flatten().tolist(), "start": start, "steps": steps}


cases = [
    case(i, optimizer, activation, tied, scaled, lr, wd, l1)
    for i, (optimizer, activation, tied, scaled, lr, wd, l1) in enumerate([
        ("sgd", "linear", False, False, 0.1, 0.0, 0.0), ("sgd", "tanh", True, False, 0.2, 0.01, 0.0),
        ("sgd", "softplus", False, True, 0.3, 0.0, 0.1), ("adam", "erf", False, False, 0.01, 0.0, 0.0),
        ("adam", "sigmoid", True, False, 0.02, 0.05, 0.0), ("adam", "relu", False, True, 0.01, 0.0, 0.2),
        ("adamw", "leaky-relu", False, False, 0.01, 0.1, 0.0), ("adamw", "sigmoid", True, True, 0.01, 0.1, 0.05),
    ])
]
text = json.dumps({"torch": torch.__version__.split("+")[0], "cases": cases}, indent=1)
pathlib.Path(__file__).with_suffix(".json").write_text(text + "\n")
