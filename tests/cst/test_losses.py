"""Every training loss is finite, lower for the better picture, and moves what it should."""

import dataclasses

import pytest
import torch

from cst.training.config import LossConfig
from cst.training.losses import Discriminator, discriminator_loss, frequency, ms_ssim, painting_loss

pytestmark = pytest.mark.usefixtures("one_thread")
NONE = LossConfig(l1=0, l2=0, ms_ssim=0, frequency=0, adversarial=0, overflow=0)


@pytest.fixture
def pair() -> tuple[torch.Tensor, torch.Tensor]:
    """A picture to be improved, slightly outside [0, 1] as the network's may be, and the original."""
    generator = torch.Generator().manual_seed(0)
    original = torch.rand(2, 3, 48, 40, generator=generator)
    picture = original + 0.1 * torch.randn(original.shape, generator=generator)
    return picture.requires_grad_(), original


@pytest.mark.parametrize("name", [field.name for field in dataclasses.fields(LossConfig)])
def test_every_loss_is_finite_and_pulls_on_the_picture(name, pair):
    picture, original = pair
    discriminator = Discriminator(width=8) if name == "adversarial" else None
    overflow = picture.square().mean()
    loss = painting_loss(picture, original, overflow, dataclasses.replace(NONE, **{name: 2.0}), discriminator)
    loss.backward()
    assert loss.isfinite()
    assert picture.grad.isfinite().all()
    assert picture.grad.abs().max() > 0


def test_the_losses_add_up_with_their_weights(pair):
    picture, original = pair
    overflow, discriminator = torch.tensor(0.7), Discriminator(width=8).eval()
    weights = {"l1": 0.2, "l2": 10.0, "ms_ssim": 0.3, "frequency": 0.4, "adversarial": 0.5, "overflow": 0.6}
    alone = 0.0
    for name, weight in weights.items():
        critic = discriminator if name == "adversarial" else None
        alone += weight * painting_loss(picture, original, overflow, dataclasses.replace(NONE, **{name: 1.0}), critic)
    together = painting_loss(picture, original, overflow, LossConfig(**weights), discriminator)
    assert together.item() == pytest.approx(alone.item(), rel=1e-5)


@pytest.mark.parametrize("loss", [lambda x, y: 1 - ms_ssim(x, y), frequency], ids=["ms_ssim", "frequency"])
def test_an_equal_picture_costs_nothing_and_a_worse_one_more(loss, pair):
    picture, original = pair
    picture = picture.detach()
    assert loss(original, original).item() == pytest.approx(0, abs=1e-5)
    assert loss(picture, original) > loss((picture + original) / 2, original) > 0


def test_gradients_of_an_equal_picture_are_finite():
    original = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    picture = original.clone().requires_grad_()
    painting_loss(picture, original, torch.tensor(0.0), LossConfig(ms_ssim=1, frequency=1)).backward()
    assert picture.grad.isfinite().all()


def test_the_discriminator_learns_to_tell_and_leaves_the_picture_alone(pair):
    picture, original = pair
    torch.manual_seed(0)
    discriminator = Discriminator(width=8)
    assert discriminator(original).shape == (2, 1, 6, 5)
    optimizer = torch.optim.Adam(discriminator.parameters(), 0.01)
    values = []
    for _ in range(20):
        optimizer.zero_grad()
        loss = discriminator_loss(discriminator, picture, original)
        loss.backward()
        optimizer.step()
        values.append(loss.item())
    assert picture.grad is None
    assert values[-1] < values[0]
