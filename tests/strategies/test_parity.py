"""ClassroomKD on whole batches against the values of the authors' released code."""

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from members import Room, prediction

from mmkd_classroom.divergences import KLDivergence
from mmkd_classroom.rankers import TrueClassRanker
from mmkd_classroom.strategies import ClassroomKD
from mmkd_classroom.structures import ClassTargets

DATA = Path(__file__).parents[1] / 'data'


@pytest.mark.parametrize('tau_max', [12, 4])
@pytest.mark.parametrize('case', ['a', 'b'])
def test_loss_and_gradient_are_those_of_the_released_code(case, tau_max):
    golden = np.load(DATA / f'classroom_golden_{case}.npz')
    labels = torch.from_numpy(golden['labels'])
    logits = torch.from_numpy(golden['student_logits']).requires_grad_()
    strategy = ClassroomKD(
        tau_max=tau_max, granularity='batch', ties=True, task_weight='score', weight=1.0
    )
    members = [prediction(None, logits)]
    members += [prediction(None, torch.from_numpy(mentor)) for mentor in golden['mentor_logits']]
    targets = ClassTargets(labels, torch.ones(len(labels), 1, dtype=torch.float64))
    room = Room(members, targets, TrueClassRanker(), KLDivergence())
    output = room.output(strategy, dict(loss=F.cross_entropy(logits, labels)))
    loss = sum(output.losses.values())
    loss.backward()
    gradient = golden[f'tau{tau_max}_grad']
    assert loss.item() == pytest.approx(golden[f'tau{tau_max}_loss'].item(), rel=0, abs=1e-9)
    np.testing.assert_allclose(logits.grad[: len(gradient)].numpy(), gradient, rtol=0, atol=1e-9)
    assert np.abs(gradient).max() > 1e-3  # far from what is tolerated
