"""The verb that makes a base."""

from __future__ import annotations

from pathlib import Path

import click

from finetide.cli.shared import ExampleCommand, choose_models, find_project
from finetide.errors import InputError

# As finetide.tasks.fresh has them; a test compares (importing it takes seconds, and --help none).
ARCHITECTURES, SIZES, STEP = ("convnext", "resnet", "vit"), ("tiny", "small"), 8


@click.command(
    cls=ExampleCommand,
    epilog="""
    finetide base models/blank --architecture resnet --side 32
    finetide base models/general --from general
    """,
)
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--from", "model", help="Model of this project: the encoder that it has in service becomes the base.")
@click.option("--architecture", type=click.Choice(ARCHITECTURES), help="A vision encoder with random weights.")
@click.option("--size", type=click.Choice(SIZES), default="tiny", show_default=True, help="Of a random one.")
@click.option("--side", type=click.IntRange(16, 512), default=32, show_default=True, help="Its pixels a side.")
@click.option("--channels", type=click.Choice(["1", "3"]), default="3", show_default=True, help="1: grey, 3: RGB.")
@click.option("--seed", type=int, default=17, show_default=True, help="Of the random weights.")
def base(
    folder: Path, model: str | None, architecture: str | None, size: str, side: int, channels: str, seed: int
) -> None:
    """Write a base into FOLDER: an encoder to start from, random or learned by another model.

    Pre-training with no download: make a random one, `finetide init --from-scratch` a model on general data with it,
    run that, then take its encoder as the base of the model you are after.
    """
    from finetide.bases import new_folder, take
    from finetide.files import sha256_file

    if (model is None) == (architecture is None):
        raise click.UsageError("give either --from or --architecture")
    if model is not None:
        root = find_project()
        choose_models(root, model)
        with new_folder(folder) as made:
            taken = take(root, model, made)
        click.echo(f"wrote {folder}: the encoder of {model} {taken.version}, {taken.tensors} tensors")
    else:
        if side % STEP:
            fix = f"a multiple of {STEP}, e.g. {-(-side // STEP) * STEP}"
            raise InputError("does not divide into patches", where="--side", found=side, fix=fix)
        from finetide.tasks import fresh

        assert architecture is not None
        with new_folder(folder) as made:
            count = fresh.write(
                made, architecture=architecture, size=size, side=side, channels=int(channels), seed=seed
            )
        click.echo(f"wrote {folder}: {architecture} {size}, {count:,} random parameters, for {side} × {side} pixels")
    click.echo(f"sha256 {sha256_file(folder / 'model.safetensors')}")
    click.echo(f"next: finetide init … --base {folder}; or put path:{folder} and the hash under base in params.yaml")
