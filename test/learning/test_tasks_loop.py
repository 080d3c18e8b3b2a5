"""The loop's task shows the parser what the engine shows it."""

import pytest
import torch
from tiny_training import LOOP, write_recipe

from ros2_derain.learning import recipe_files
from ros2_derain.learning.tasks import TASKS
from ros2_derain.learning.tasks.loopnet import LoopTask, with_labels_of_size
from ros2_derain.networks.enlarging import STRIDE, EnlargingParser
from ros2_derain.networks.scene_parser import prior_from_probabilities

HEIGHT, WIDTH = 64, 96


def loop_task(folder, **options: float) -> LoopTask:
    networks = {**LOOP["networks"]}
    networks["parser"] = {
        "network": "scene_parser",
        "options": {"widths": [8, 8, 8, 8], "enlarged_below": 640},
    }
    path = write_recipe(folder / "recipe.yaml", LOOP, task="loop", networks=networks, options=options)
    torch.manual_seed(0)
    task = TASKS["loop"](recipe_files.load(path), [100] * 11)
    task.log = task.log_dict = lambda *_, **__: None
    return task.eval()


def clips() -> dict[str, torch.Tensor]:
    """Two clips of two frames: a class on the left, another on the right, and a box around the right one."""
    labels = torch.zeros(2, 2, HEIGHT, WIDTH, dtype=torch.uint8)
    labels[..., WIDTH // 2 :] = 8
    images = torch.randint(0, 256, (2, 2, 3, HEIGHT, WIDTH), dtype=torch.uint8)
    box = torch.tensor([0.0, WIDTH / 2, 0, WIDTH, HEIGHT])
    none = torch.tensor([-1.0, 0, 0, 0, 0])
    return {
        "rain": images,
        "clean": images,
        "labels": labels,
        "boxes": torch.stack((box, none)).repeat(2, 2, 1, 1),
        "boxes_known": torch.tensor([True, True]),
        "follows": torch.tensor([True, False]),
        "raining": torch.tensor([True, False]),
    }


@pytest.mark.parametrize("enlarged, size", [(0, (HEIGHT, WIDTH)), (1, (96, 144))])
def test_the_parser_sees_images_and_labels_of_one_size(tmp_path, enlarged, size):
    task, batch = loop_task(tmp_path, enlarged=enlarged), clips()
    seen = []
    task.parser.register_forward_pre_hook(lambda _, given: seen.append(tuple(given[0].shape[-2:])))
    loss = task.training_step(batch, 0)
    assert set(seen) == {size} and torch.isfinite(loss)
    truth = with_labels_of_size(batch, size)
    left, right = truth["labels"][..., : size[1] // 2], truth["labels"][..., size[1] // 2 :]
    assert truth["labels"].shape[-2:] == size and not left.any() and (right == 8).all()
    assert truth["boxes"][0, 0, 0].tolist() == [0, size[1] / 2, 0, size[1], size[0]]
    assert (truth["boxes"][..., 1, 0] == -1).all(), "no box stays none"


def test_the_prior_of_enlarged_images_is_the_engines(tmp_path):
    task, batch = loop_task(tmp_path, enlarged=1, again=0, without_prior=0), clips()
    given = []
    refine = task.derainer.refine
    task.derainer.refine = lambda image, estimate, prior: (
        given.append((estimate.image, prior)) or refine(image, estimate, prior)
    )
    task.training_step(batch, 0)
    coarse, prior = given[0]
    with torch.no_grad():
        found = EnlargingParser(task.parser)(coarse.clamp(0, 1)).probabilities()
    assert prior.shape[-2:] == (HEIGHT // 8, WIDTH // 8)
    torch.testing.assert_close(prior, prior_from_probabilities(found, STRIDE))
