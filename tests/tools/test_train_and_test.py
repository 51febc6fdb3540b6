"""The tools on small data: stock models and classrooms, beside MMPose's and MMPretrain's."""

import json
import os
import re
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import mmpose
import mmpretrain
import numpy as np
import pytest
import torch
from fixtures import (
    write_class_config,
    write_class_dataset,
    write_classroom_config,
    write_pose_config,
    write_pose_dataset,
)
from mmengine import load
from mmpose.apis import MMPoseInferencer, inference_topdown, init_model
from mmpretrain import ImageClassificationInferencer

TOOLS = Path(__file__).resolve().parent.parent.parent / 'tools'
STOCK = {
    'pose': Path(mmpose.__file__).parent / '.mim' / 'tools',
    'class': Path(mmpretrain.__file__).parent / '.mim' / 'tools',
}
# MMPose 1.3.2's visualizer makes numbers of arrays of one number, which numpy 2.4 refuses.
CAN_DRAW = tuple(map(int, np.__version__.split('.')[:2])) < (2, 4)
ALONE = "custom_hooks = [dict(type='mmkd_classroom.EpochSeedHook')]"


@pytest.fixture
def config(tmp_path):
    """Write a config: ``config('pose' or 'class', classroom=..., workers=..., extra=...)``."""

    def write(kind, classroom=False, **values):
        data = tmp_path / f'{kind}_data'
        if kind == 'pose':
            data = data if data.exists() else write_pose_dataset(data)
            path = write_pose_config(tmp_path / 'pose.py', data, **values)
        else:
            data = data if data.exists() else write_class_dataset(data)
            path = write_class_config(tmp_path / 'class.py', data, **values)
        if classroom:
            return write_classroom_config(tmp_path / f'{kind}_classroom.py', path)
        return path

    return write


def read(path):
    """A checkpoint as PyTorch reads it by default since 2.6."""
    return torch.load(path, weights_only=True)


def assert_same_training(path, other):
    """Weights, optimizer and all losses are equal to the last bit."""
    mine, theirs = read(path), read(other)
    assert list(mine['state_dict']) == list(theirs['state_dict'])
    for name, value in mine['state_dict'].items():
        assert torch.equal(value, theirs['state_dict'][name]), name
    for index, state in mine['optimizer']['state'].items():
        for name, value in state.items():
            assert torch.equal(value, theirs['optimizer']['state'][index][name]), name
    logs, others = (content['message_hub']['log_scalars'] for content in (mine, theirs))
    names = [name for name in logs if name.startswith('train/') and 'time' not in name]
    assert 'train/loss' in names and 'train/lr' in names
    for name in names:
        log, other_log = (x[name]['HistoryBuffer']['log_history'] for x in (logs, others))
        assert torch.equal(log, other_log), name


KINDS = pytest.mark.parametrize('kind', ['pose', 'class'])
CLASSROOM = pytest.mark.parametrize('classroom', [False, True], ids=['alone', 'classroom'])


@KINDS
def test_a_stock_model_trains_as_by_its_own_tool(run_tool, config, kind, tmp_path):
    path = config(kind, epochs=1)
    run_tool('train', path, '--work-dir', tmp_path / 'ours')
    run_tool(STOCK[kind] / 'train.py', path, '--work-dir', tmp_path / 'stock')
    ours = read(tmp_path / 'ours/epoch_1.pth')['state_dict']
    stock = torch.load(tmp_path / 'stock/epoch_1.pth', weights_only=False)['state_dict']
    assert list(ours) == list(stock)
    for name, value in ours.items():
        assert torch.equal(value, stock[name]), name


@KINDS
@CLASSROOM
def test_every_way_to_evaluate_gives_the_same(
    run_tool, config, kind, classroom, tmp_path, monkeypatch
):
    """Ours on the training config; stock tools and inferencers on the student's, all as they are.

    No conversion, no patch, and no word that the file may be trusted.
    """
    student = config(kind, epochs=2)
    path = config(kind, classroom, epochs=2)
    run_tool('train', path, '--work-dir', tmp_path / 'run')
    checkpoint = tmp_path / 'run/epoch_2.pth'
    if classroom:  # none is needed from here on
        for mentor in tmp_path.glob('*_mentor_*.pth'):
            mentor.unlink()

    ours = ['--out', tmp_path / 'ours.json', '--dump', tmp_path / 'ours.pkl']
    run_tool('test', path, checkpoint, '--work-dir', tmp_path / 'test', *ours)
    metrics, predictions = load(tmp_path / 'ours.json'), load(tmp_path / 'ours.pkl')
    assert len(predictions) == 8

    out = [] if kind == 'pose' else ['--out-item', 'metrics']
    stock = STOCK[kind] / 'test.py'
    out = ['--out', tmp_path / 'stock.json', *out]
    run_tool(stock, student, checkpoint, '--work-dir', tmp_path / 'test', *out)
    assert load(tmp_path / 'stock.json') == metrics

    if kind == 'pose':
        model = init_model(str(student), str(checkpoint), device='cpu')
        for prediction in predictions[:2]:
            box = np.asarray(prediction['gt_instances']['bboxes'])
            found = inference_topdown(model, prediction['img_path'], box)[0].pred_instances
            np.testing.assert_array_equal(
                found.keypoints, prediction['pred_instances']['keypoints']
            )
        inferencer = MMPoseInferencer(
            str(student), str(checkpoint), det_model='whole_image', device='cpu'
        )
        picture, vis = prediction['img_path'], str(tmp_path / 'vis') if CAN_DRAW else ''
        found = next(inferencer(picture, vis_out_dir=vis))['predictions'][0][0]
        direct = inference_topdown(model, picture)[0].pred_instances.keypoints[0]
        np.testing.assert_array_equal(found['keypoints'], direct)
        assert not CAN_DRAW or list((tmp_path / 'vis').rglob('*.png'))  # in its colours
    else:
        inferencer = ImageClassificationInferencer(str(student), str(checkpoint), device='cpu')
        for prediction in predictions[:2]:
            found = inferencer(prediction['img_path'])[0]
            scores = prediction['pred_score'].numpy()
            np.testing.assert_allclose(found['pred_scores'], scores, rtol=1e-6)
            assert found['pred_class'] == f'class_{int(prediction["pred_label"])}'


@KINDS
@CLASSROOM
@pytest.mark.parametrize('workers', [0, 2])
def test_resume_from_an_epoch(run_tool, config, kind, classroom, workers, tmp_path):
    path = config(kind, classroom, workers=workers, extra=ALONE)
    run_tool('train', path, '--work-dir', tmp_path / 'whole')
    run_tool(
        'train', path, '--work-dir', tmp_path / 'part', '--resume', tmp_path / 'whole/epoch_1.pth'
    )
    assert_same_training(tmp_path / 'part/epoch_2.pth', tmp_path / 'whole/epoch_2.pth')


def test_resume_after_sigkill_in_mid_epoch(run_tool, config, tmp_path):
    (tmp_path / 'kill.py').write_text(
        'import os, signal\n'
        'from mmengine.hooks import Hook\n'
        'from mmengine.registry import HOOKS\n'
        '@HOOKS.register_module()\n'
        'class Kill(Hook):\n'
        '    def after_train_iter(self, runner, **kwargs):\n'
        '        if runner.iter == 4:\n'
        '            os.kill(os.getpid(), signal.SIGKILL)\n'
    )
    path = config('pose', True, epochs=3, workers=2)
    options = ['--work-dir', tmp_path / 'part']
    killed = tmp_path / 'killed.py'
    killed.write_text(
        f"_base_ = ['{path.name}']\n"
        "custom_imports = dict(imports=['kill'])\n"
        "custom_hooks = [*_base_.custom_hooks, dict(type='Kill')]\n"
    )
    result = subprocess.run(
        [sys.executable, TOOLS / 'train.py', killed, *options],
        env={**os.environ, 'PYTHONPATH': str(tmp_path)},
        cwd=tmp_path,
        capture_output=True,
    )
    assert result.returncode == -9, result.stderr.decode()
    assert (tmp_path / 'part/epoch_2.pth').exists()
    assert not (tmp_path / 'part/epoch_3.pth').exists()
    run_tool('train', path, *options, '--resume')
    run_tool('train', path, '--work-dir', tmp_path / 'whole')
    assert_same_training(tmp_path / 'part/epoch_3.pth', tmp_path / 'whole/epoch_3.pth')


def test_resume_from_a_file_of_the_stock_tool(run_tool, config, tmp_path):
    path = config('pose', epochs=1)
    run_tool(STOCK['pose'] / 'train.py', path, '--work-dir', tmp_path / 'run')
    option = ['--cfg-options', 'train_cfg.max_epochs=2']
    run_tool('train', path, '--work-dir', tmp_path / 'run', '--resume', *option)
    history = read(tmp_path / 'run/epoch_2.pth')['message_hub']['log_scalars']['train/loss']
    assert len(history['HistoryBuffer']['log_history']) == 4


@CLASSROOM
def test_flags_and_options_together(run_tool, config, classroom, tmp_path):
    """bfloat16, accumulation, clipping, EMA and a scaled learning rate, resumed in between."""
    path = config('pose', classroom, epochs=3, extra=ALONE)
    with path.open('a') as file:
        file.write("custom_hooks = custom_hooks + [dict(type='EMAHook')]\n")
    options = [
        '--amp', '--auto-scale-lr', '--no-validate', '--cfg-options',
        'auto_scale_lr.base_batch_size=8', 'optim_wrapper.accumulative_counts=2',
        'optim_wrapper.clip_grad.max_norm=1.0',
    ]  # fmt: skip
    run_tool('train', path, '--work-dir', tmp_path / 'whole', *options)
    last = tmp_path / 'whole/epoch_3.pth'
    resume = ['--resume', tmp_path / 'whole/epoch_1.pth']
    run_tool('train', path, '--work-dir', tmp_path / 'part', *resume, *options)
    assert_same_training(tmp_path / 'part/epoch_3.pth', last)

    content = read(last)
    logs = content['message_hub']['log_scalars']
    assert not any(name.startswith('val/') for name in logs)
    assert 'train/grad_norm' in logs
    assert logs['train/lr']['HistoryBuffer']['log_history'].max() == pytest.approx(5e-4)
    assert "type='mmkd_classroom.Bf16OptimWrapper'" in content['meta']['cfg']
    student = set(content['state_dict'])
    ema = {name.removeprefix('module.') for name in content['ema_state_dict']} - {'steps'}
    assert ema == student and not any('student' in name or 'mentor' in name for name in student)

    full = ['--work-dir', tmp_path / 'full', *options[1:]]
    run_tool('train', path, *full)
    weights = read(tmp_path / 'full/epoch_3.pth')['state_dict']
    assert not torch.equal(weights['backbone.conv1.weight'],
                           content['state_dict']['backbone.conv1.weight'])  # fmt: skip


@pytest.mark.parametrize(
    'line, message',
    [
        ("model['type'] = 'MultiMentorDistiller'", "write 'mmkd_classroom.MultiMentorDistiller'"),
        ("custom_hooks = [dict(type='MentoringHook')]", "write 'mmkd_classroom.MentoringHook'"),
        (
            "custom_hooks = [dict(type='mmkd_classroom.MentoringHok')]",
            r"custom_hooks\[0\].*did you mean 'MentoringHook'",
        ),
    ],
)
def test_types_without_their_prefix_are_named(line, message, config, run_tool, tmp_path):
    path = config('class', True)
    path.write_text(f'{path.read_text()}\n{line}\n')
    with pytest.raises(SystemExit, match=message):
        run_tool('train', path, '--work-dir', tmp_path / 'run')


def launch(*command, cwd):
    """Run a launcher of two processes on a free port."""
    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        port = str(free.getsockname()[1])
    environment = {**os.environ, 'PORT': port, 'PYTHON': sys.executable, 'OMP_NUM_THREADS': '1'}
    return subprocess.run(
        list(map(str, command)), env=environment, cwd=cwd, capture_output=True, text=True
    )


def test_what_is_wrong_is_the_last_word_of_two_processes(config, tmp_path):
    path = config('class', True, epochs=1)
    for index in range(2):
        (tmp_path / f'class_classroom_mentor_{index}.pth').unlink()
    result = launch(TOOLS / 'dist_train.sh', path, '2', '--work-dir', 'run', cwd=tmp_path)
    assert result.returncode != 0
    *_, message = result.stderr.rpartition('2 things are wrong:')
    assert '1. model.mentors[0].checkpoint' in message
    assert '2. model.mentors[1].checkpoint' in message.splitlines()[-1]
    assert (result.stdout + result.stderr).count('model.mentors[0].checkpoint =') == 1


def test_two_processes_on_a_cpu(config, run_tool, tmp_path):
    path = config('pose', True, epochs=1)
    train = [TOOLS / 'dist_train.sh', path, '2', '--work-dir', tmp_path / 'run']
    test = [TOOLS / 'dist_test.sh', path, tmp_path / 'run/epoch_1.pth', '2',
            '--work-dir', tmp_path / 'test', '--out', tmp_path / 'two.json']  # fmt: skip
    for command in (train, test):
        result = launch(*command, cwd=tmp_path)
        assert result.returncode == 0, result.stderr[-3000:]
    content = read(tmp_path / 'run/epoch_1.pth')
    assert content['meta']['iter'] == 1  # 8 images, 2 processes, batches of 4
    assert 'find_unused_parameters=False' in content['meta']['cfg']
    run_tool('test', path, tmp_path / 'run/epoch_1.pth', '--work-dir', tmp_path / 'test',
             '--out', tmp_path / 'one.json',
             # As in training: it is taken, though no mentor is loaded.
             '--cfg-options', 'model.mentors.0.checkpoint=nowhere.pth')  # fmt: skip
    assert load(tmp_path / 'two.json') == load(tmp_path / 'one.json')


@pytest.mark.parametrize('script', ['slurm_train.sh', 'slurm_test.sh'])
def test_slurm_scripts(script, tmp_path):
    (tmp_path / 'srun').write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    (tmp_path / 'srun').chmod(0o755)
    environment = {**os.environ, 'PATH': f'{tmp_path}:{os.environ["PATH"]}', 'GPUS': '16',
                   'SRUN_ARGS': '--a --b'}  # fmt: skip
    arguments = ['part', 'job', 'my config.py', 'last', '--cfg-options', 'a=b c']
    command = [str(TOOLS / script), *arguments]
    result = subprocess.run(command, env=environment, capture_output=True, text=True, cwd=tmp_path)
    words = result.stdout.splitlines()
    assert words[:2] == ['-p', 'part'] and '--ntasks=16' in words and '--b' in words
    rest = ['my config.py', 'last'] if 'test' in script else ['my config.py', '--work-dir=last']
    tool = str(TOOLS / script.replace('slurm_', '').replace('.sh', '.py'))
    expected = [tool, *rest, '--launcher=slurm', '--cfg-options', 'a=b c']
    assert words[words.index('-u') + 1 :] == expected


@pytest.mark.parametrize('tool', ['train', 'test'])
def test_flags_are_mmposes(run_tool, capsys, tool):
    flags = []
    for script in (tool, STOCK['pose'] / f'{tool}.py'):
        with pytest.raises(SystemExit):
            run_tool(script, '--help')
        usage = capsys.readouterr().out
        flags.append(set(re.findall(r'--[a-z_-]+', usage.split('\n\n')[0])))
    ours = {'--mentors', '--strategy', '--cache', '--save-on-sigterm'} if tool == 'train' else set()
    assert flags[0] - ours == flags[1] and ours < flags[0]


class TestVisualizing:
    @pytest.mark.xfail(not CAN_DRAW, reason='MMPose 1.3.2 with numpy 2.4', strict=True)
    def test_pictures_and_bad_cases(self, run_tool, config, tmp_path):
        path = config('pose', True, epochs=1)
        run_tool('train', path, '--work-dir', tmp_path / 'run')
        options = ['--work-dir', tmp_path / 'test', '--show-dir', tmp_path / 'pictures']
        bad = ['--badcase', '--cfg-options', 'default_hooks.badcase.badcase_thr=-1']
        run_tool('test', path, tmp_path / 'run/epoch_1.pth', *options, *bad)
        assert len(list((tmp_path / 'pictures').rglob('*.png'))) == 8
        report = next((tmp_path / 'test').rglob('badcase/results.json'))
        assert len(json.loads(report.read_text())) == 8


class TestMistakes:
    """Each stops before training or testing, with the key or file and what to do."""

    def fails(self, run_tool, *args):
        with pytest.raises(SystemExit) as error:
            run_tool(*args)
        return str(error.value)

    def test_another_models_checkpoint(self, run_tool, config, tmp_path):
        pose, classes = config('pose'), config('class', epochs=1)
        run_tool('train', classes, '--work-dir', tmp_path / 'run')
        message = self.fails(run_tool, 'test', pose, tmp_path / 'run/epoch_1.pth',
                             '--work-dir', tmp_path / 'test')  # fmt: skip
        assert 'epoch_1.pth' in message and 'Missing key(s)' in message

    def test_flags(self, run_tool, config, tmp_path):
        path = config('class', extra='del auto_scale_lr')
        work = ['--work-dir', tmp_path / 'run']
        with path.open('a') as file:
            file.write("optim_wrapper['type'] = 'OptimWrapperDict'\n")
        assert 'auto_scale_lr' in self.fails(run_tool, 'train', path, *work, '--auto-scale-lr')
        assert 'OptimWrapperDict' in self.fails(run_tool, 'train', path, *work, '--amp')
        test = ['test', path, 'x.pth', *work]
        assert "'m.txt'" in self.fails(run_tool, *test, '--out', 'm.txt')
        assert "'p.json'" in self.fails(run_tool, *test, '--dump', 'p.json')
        assert 'default_hooks.badcase' in self.fails(run_tool, *test, '--badcase')

    @pytest.mark.parametrize('damage', ['missing', 'truncated', 'evil'])
    def test_resume(self, run_tool, config, tmp_path, damage):
        path, checkpoint = config('class'), tmp_path / 'x.pth'
        if damage == 'truncated':
            torch.save(dict(a=torch.ones(9)), checkpoint)
            checkpoint.write_bytes(checkpoint.read_bytes()[:-100])
        if damage == 'evil':
            torch.save(dict(a=shutil.rmtree), checkpoint)
        message = self.fails(run_tool, 'train', path, '--work-dir', tmp_path / 'run',
                             '--resume', checkpoint)  # fmt: skip
        reason = dict(missing='no such file', truncated='truncated', evil='shutil.rmtree')
        assert 'x.pth' in message and reason[damage] in message


def test_a_classroom_trains_by_iterations(run_tool, tmp_path):
    """With loading workers that are safe from SIGTERM, and records without an epoch."""
    by_iterations = 'train_cfg = dict(by_epoch=False, max_iters=3, val_interval=100)'
    data = write_class_dataset(tmp_path / 'data')
    base = write_class_config(tmp_path / 'class.py', data, extra=by_iterations, workers=1)
    path = write_classroom_config(tmp_path / 'room.py', base)
    run_tool('train', path, '--work-dir', tmp_path / 'run', '--save-on-sigterm', '--no-validate')
    records = [json.loads(line) for line in (tmp_path / 'run/mentoring.jsonl').open()]
    assert records[-1]['iter'] == 3 and not any('epoch' in record for record in records)
