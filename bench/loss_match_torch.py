"""PyTorch's side of bench/loss_match.py: trains what a file holds, writes the losses as JSON.

python bench/loss_match_torch.py PROBLEM.npz LOSSES.json [--device cuda]
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import torch

from torch_gpt import TorchGPT, adamw


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("problem", type=Path)
    parser.add_argument("losses", type=Path)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    a = parser.parse_args()
    torch.set_num_threads(a.threads)

    with np.load(a.problem) as arrays:
        settings = json.loads(str(arrays["settings"]))
        rates = arrays["learning_rates"].tolist()
        windows = torch.from_numpy(arrays["windows"].astype(np.int64)).to(a.device)
        values = {n[2:]: torch.from_numpy(arrays[n]) for n in arrays.files if n.startswith("p.")}
    model = TorchGPT(**settings["sizes"])
    model.load_state_dict(values)
    model.to(a.device)
    betas = (settings["betas"][0], settings["betas"][1])
    optimizer = adamw(model, rates[0], settings["weight_decay"], betas)
    losses = []
    for window, rate in zip(windows, rates, strict=True):
        for group in optimizer.param_groups:
            group["lr"] = rate
        loss = model.loss(window[:, :-1], window[:, 1:])
        optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        torch.nn.utils.clip_grad_norm_(model.parameters(), settings["grad_clip"])
        optimizer.step()
        losses.append(loss.detach())
    a.losses.write_text(json.dumps(torch.stack(losses).tolist()), "utf-8")


if __name__ == "__main__":
    main()
