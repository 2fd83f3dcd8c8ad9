"""Training losses are finite, add up, and have gradients where they should."""

import dataclasses

import pytest
import torch

from cst.training.config import LossConfig
from cst.training.losses import Discriminator, discriminator_loss, reconstruction_loss

pytestmark = pytest.mark.usefixtures("one_thread")
NONE = LossConfig(l1=0, l2=0, adversarial=0, range_penalty=0)


@pytest.fixture
def pair() -> tuple[torch.Tensor, torch.Tensor]:
    """A picture to be improved, slightly outside [0, 1] as the network's may be, and the original."""
    generator = torch.Generator().manual_seed(0)
    original = torch.rand(2, 3, 48, 40, generator=generator)
    picture = original + 0.1 * torch.randn(original.shape, generator=generator)
    return picture.requires_grad_(), original


@pytest.mark.parametrize("name", [field.name for field in dataclasses.fields(LossConfig)])
def test_every_loss_is_finite_and_has_a_gradient(name, pair):
    picture, original = pair
    discriminator = Discriminator(width=8) if name == "adversarial" else None
    penalty = picture.square().mean()
    config = dataclasses.replace(NONE, **{name: 2.0})
    taught = original.flip(0) if name == "distill" else None
    loss = reconstruction_loss(picture, original, penalty, config, discriminator, taught)
    loss.backward()
    assert loss.isfinite()
    assert picture.grad.isfinite().all()
    assert picture.grad.abs().max() > 0


def test_the_losses_add_up_with_their_weights(pair):
    picture, original = pair
    penalty, discriminator = torch.tensor(0.7), Discriminator(width=8).eval()
    weights = {"l1": 0.2, "l2": 10.0, "adversarial": 0.5, "range_penalty": 0.6}
    alone = 0.0
    for name, weight in weights.items():
        critic = discriminator if name == "adversarial" else None
        config = dataclasses.replace(NONE, **{name: 1.0})
        alone += weight * reconstruction_loss(picture, original, penalty, config, critic)
    together = reconstruction_loss(picture, original, penalty, LossConfig(**weights), discriminator)
    assert together.item() == pytest.approx(alone.item(), rel=1e-5)


def test_the_discriminator_learns_without_a_gradient_for_the_picture(pair):
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
