"""A checkpoint to resume training from: what a training loop saves besides the weights, after 20 real steps.

The small decoder (316,556 parameters) learns to repeat its input. training_checkpoint.pt then holds the weights four times
over: the model, AdamW's two running moments, and an exponential moving average (EMA) of the model. 1.27 MB of weights
become a file of 5.24 MB; a counter per parameter, the learning-rate schedule, the random-number state, the loss and the
command-line arguments add little.

The arguments are an argparse.Namespace, which is why torch.load(..., weights_only=True) refuses this file.
"""

import argparse
from pathlib import Path

import torch
from decoder_small import small_decoder
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn


def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "training_checkpoint.pt"
    args = argparse.Namespace(lr=1e-3, weight_decay=0.01, batch_size=8, length=16, epochs=2, steps_per_epoch=10, ema_decay=0.99)
    model = small_decoder()
    vocabulary = model.embedding.num_embeddings
    average = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(args.ema_decay))
    optimizer = torch.optim.AdamW(model.parameters(), lr=args.lr, weight_decay=args.weight_decay)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=args.epochs * args.steps_per_epoch)

    global_step = 0
    for epoch in range(args.epochs):
        for _ in range(args.steps_per_epoch):
            source = torch.randint(vocabulary, (args.batch_size, args.length))
            logits = model(source[:, :-1], source)
            loss = nn.functional.cross_entropy(logits.flatten(0, 1), source[:, 1:].flatten())
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            scheduler.step()
            average.update_parameters(model)
            global_step += 1

        checkpoint = {
            "epoch": epoch,
            "global_step": global_step,
            "model_state_dict": model.state_dict(),
            "ema_state_dict": average.module.state_dict(),
            "optimizer_state_dict": optimizer.state_dict(),
            "lr_scheduler_state_dict": scheduler.state_dict(),
            "loss": loss.item(),
            "args": args,
            "rng_state": torch.get_rng_state(),
        }
        torch.save(checkpoint, path)
    print(path)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", nargs="?", type=Path, default=Path(__file__).parent / "models")
    main(parser.parse_args().folder)
