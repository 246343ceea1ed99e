"""``msltx generate``."""

from __future__ import annotations

import sys

import click

from msltx._arguments import DEFAULT_TEMPERATURE
from msltx.cli._text import standard_input


@click.command()
@click.argument("model", metavar="MODEL")
@click.option("--prompt", default="", help="Text to continue; - reads it from standard input.")
@click.option(
    "--max-tokens",
    type=int,
    default=128,
    show_default=True,
    help="New tokens at most; fewer where the model's context_length is full.",
)
@click.option("--greedy", is_flag=True, help="Always the most probable token.")
@click.option(
    "--temperature",
    type=float,
    help="Below 1 probable tokens become more probable, above 1 less; 0: as --greedy.  "
    f"[default: {DEFAULT_TEMPERATURE}]",
)
@click.option("--top-k", type=int, help="Draw from the k most probable tokens; 0: from all.")
@click.option(
    "--top-p",
    type=float,
    help="Draw from the fewest most probable tokens whose probabilities reach p; 1: from all.",
)
@click.option(
    "--seed", type=int, default=0, show_default=True, help="Same seed, same tokens; 0 or more."
)
@click.option("--stop", multiple=True, help="Text to end at; may be given several times.")
@click.option(
    "--dtype",
    type=click.Choice(["float32", "bfloat16"]),
    default="float32",
    show_default=True,
    help="Compute type.",
)
@click.option("--timings", is_flag=True, help="Say on stderr how fast it went.")
def generate(
    model: str,
    prompt: str,
    max_tokens: int,
    greedy: bool,
    temperature: float | None,
    top_k: int | None,
    top_p: float | None,
    seed: int,
    stop: tuple[str, ...],
    dtype: str,
    timings: bool,
) -> None:
    """Continue a text with MODEL: a model folder, a checkpoint, or a run (its last checkpoint)."""
    import msltx

    if greedy and temperature is not None:
        raise click.UsageError("--greedy and --temperature exclude each other")
    if temperature is None:
        temperature = DEFAULT_TEMPERATURE
    gpt = msltx.GPT.load(model, dtype=dtype)
    tokenizer = msltx.Tokenizer.load_from_model(model)
    if prompt == "-":
        prompt = standard_input()
    unsaid = prompt  # goes before the first new text, so that a refused prompt prints nothing

    def write(text: str) -> None:
        nonlocal unsaid
        sys.stdout.write(unsaid + text)
        sys.stdout.flush()
        unsaid = ""

    made = msltx.generate(
        gpt,
        tokenizer,
        prompt,
        max_tokens=max_tokens,
        temperature=0.0 if greedy else temperature,
        top_k=top_k,
        top_p=top_p,
        seed=seed,
        stop=stop,
        on_text=write,
    )
    write("\n")
    if made.finish_reason == "context":
        click.echo(
            f"stopped after {len(made.tokens):,} new tokens: the model's context_length, "
            f"{gpt.config.context_length:,} tokens, is full",
            err=True,
        )
    if timings:
        click.echo(
            f"prompt {made.timings.prefill_tokens_per_s:,.0f} tokens/s, new text "
            f"{made.timings.decode_tokens_per_s:,.0f} tokens/s, {len(made.tokens)} new tokens, "
            f"ended by {made.finish_reason}",
            err=True,
        )
