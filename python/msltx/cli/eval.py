"""``msltx eval``."""

from __future__ import annotations

import math

import click


@click.command("eval")
@click.argument("model", metavar="MODEL")
@click.option("--data", "data_path", metavar="DIR", required=True, help="Prepared dataset.")
@click.option("--split", type=click.Choice(["val", "train"]), default="val", show_default=True)
@click.option("--batch-size", type=int, default=16, show_default=True, help="Windows at a time.")
@click.option("--max-tokens", type=int, help="Stop after about so many tokens.")
@click.option(
    "--dtype",
    type=click.Choice(["float32", "bfloat16"]),
    default="float32",
    show_default=True,
    help="Compute type.",
)
def command(
    model: str, data_path: str, split: str, batch_size: int, max_tokens: int | None, dtype: str
) -> None:
    """Give MODEL's loss on a dataset: a model folder, a checkpoint, or a run."""
    import msltx
    from msltx import data as msltx_data
    from msltx._evaluation import check_tokenizer, evaluate

    gpt = msltx.GPT.load(model, dtype=dtype)
    dataset = msltx_data.open(data_path)
    check_tokenizer(dataset, msltx.Tokenizer.load_from_model(model), f"that of {model}")
    result = evaluate(gpt, dataset, split=split, batch_size=batch_size, max_tokens=max_tokens)
    if result.loss is None:
        raise click.ClickException(f"the {split} split of {data_path} has no token to predict")
    if not math.isfinite(result.loss):
        raise msltx.Error(
            f"the loss of {model} on {data_path} is {result.loss}: its weights are not finite, "
            "or far too large"
        )
    click.echo(f"loss {result.loss:.4f} nats per token")
    click.echo(f"perplexity {result.perplexity:.2f}")
    if result.bits_per_byte is not None:
        click.echo(f"bits per byte {result.bits_per_byte:.4f}")
    click.echo(f"tokens {result.tokens:,}")
