"""The bundle as a host has it: its own packages in a fresh environment, started, used, measured. A minute or two."""

from pathlib import Path

import pytest

from space.hosting.measure import measure_hosting


def test_the_bundle_installs_alone_starts_reconstructs_and_draws(tmp_path: Path, capsys: pytest.CaptureFixture):
    measured = measure_hosting(tmp_path)
    with capsys.disabled():
        print(f"\n{measured}")
    assert measured.environment < 700 * 10**6
    assert measured.peak is None or measured.peak < 1.5 * 10**9
    assert measured.psnr > 25 and 1 < measured.bits < 33
