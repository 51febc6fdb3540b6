"""`make_classroom.py` writes a classroom that trains, after a check without data or network."""

import re
import shutil
from pathlib import Path

import pytest
import torch
from fixtures import (
    write_class_config,
    write_class_dataset,
    write_classroom_config,
    write_pose_config,
    write_pose_dataset,
)
from mmengine.config import Config

RTMPOSE = 'mmpose::body_2d_keypoint/rtmpose/coco/rtmpose-{}_8xb256-420e_coco-256x192.py'
MPII = 'mmpose::body_2d_keypoint/topdown_heatmap/mpii/td-hm_res50_8xb64-210e_mpii-256x256.py'
URL = 'https://example.com/weights.pth'


@pytest.fixture
def room(tmp_path, monkeypatch):
    """Configs in folders of their own; the working directory is above them.

    `students/pose.py` and `students/class.py`, and in `teachers/` the weights of two of each.
    """
    monkeypatch.chdir(tmp_path)
    for name in ('students', 'teachers', 'rooms'):
        (tmp_path / name).mkdir()
    data = write_pose_dataset(tmp_path / 'pose_data')
    write_pose_config(tmp_path / 'students' / 'pose.py', data, epochs=1)
    data = write_class_dataset(tmp_path / 'class_data')
    write_class_config(tmp_path / 'students' / 'class.py', data, epochs=1)
    for name in ('pose', 'class'):
        path = Path('teachers', f'{name}.py')
        write_classroom_config(path, Path('students', f'{name}.py'))
        path.unlink()
    return tmp_path


@pytest.mark.parametrize('kind', ['pose', 'class'])
def test_what_is_written_trains_from_anywhere(kind, room, run_tool, monkeypatch, capsys):
    student = f'students/{kind}.py'
    mentors = [f'{student}=teachers/{kind}_mentor_{index}.pth' for index in range(2)]
    flags = ['--mentors', *mentors, '--strategy', 'AMTML', '-o', 'rooms/room.py']
    run_tool('make_classroom', student, *flags)
    assert 'AMTML by KLDivergence, scored by ' in capsys.readouterr().out
    assert list(Path('rooms').iterdir()) == [Path('rooms/room.py')]

    (room / 'elsewhere').mkdir()
    monkeypatch.chdir(room / 'elsewhere')
    run_tool('train', room / 'rooms' / 'room.py', '--work-dir', 'file', '--no-validate')
    monkeypatch.chdir(room)
    run_tool('train', student, *flags[:-2], '--work-dir', 'flags', '--no-validate')
    ours, theirs = (
        torch.load(path, weights_only=True)['state_dict']
        for path in ('elsewhere/file/epoch_1.pth', 'flags/epoch_1.pth')
    )
    assert all(torch.equal(value, theirs[name]) for name, value in ours.items())


def test_the_file_is_ten_lines(room, run_tool):
    run_tool('make_classroom', 'students/class.py', '-o', 'rooms/room.py',
             '--mentors', f'{room}/students/class.py=teachers/class_mentor_0.pth')  # fmt: skip
    assert Path('rooms/room.py').read_text() == (
        '# Train: python -m mmkd_classroom.train rooms/room.py\n'
        "_base_ = ['../students/class.py']\n"
        'model = dict(\n'
        '    _delete_=True,\n'
        "    type='mmkd_classroom.MultiMentorDistiller',\n"
        '    student=_base_.model,\n'
        '    mentors=[\n'
        f"        dict(config='{room}/students/class.py', "
        "checkpoint='../teachers/class_mentor_0.pth'),\n"
        '    ],\n'
        ')\n'
    )


@pytest.mark.parametrize(
    'student, size',
    [
        ('topdown_regression/coco/td-reg_res50_8xb64-210e_coco-256x192', '192x256'),
        ('topdown_regression/coco/td-reg_res50_rle-8xb64-210e_coco-256x192', '192x256'),
        ('integral_regression/coco/ipr_res50_dsnt-8xb64-210e_coco-256x256', '256x256'),
        ('integral_regression/coco/ipr_res50_8xb64-210e_coco-256x256', '256x256'),
        ('topdown_heatmap/coco/td-hm_hrnet-w32_udp-regress-8xb64-210e_coco-256x192', '192x256'),
        ('topdown_heatmap/coco/td-hm-vis_res50_8xb64-210e_coco-aic-256x192-merge', '192x256'),
        ('topdown_heatmap/coco/td-hm_mspn50_8xb32-210e_coco-256x192', '192x256'),
    ],
)
def test_students_of_every_kind_of_head(student, size, room, run_tool, capsys, monkeypatch):
    monkeypatch.setattr(torch.hub, 'download_url_to_file', None)
    student = f'mmpose::body_2d_keypoint/{student}.py'
    run_tool('make_classroom', student, '--mentors', RTMPOSE.format('t'), '-o', 'room.py')
    shown = capsys.readouterr().out
    assert re.search(rf'^student +[\d.]+ M +[\d.]+ +{size} ', shown, re.MULTILINE)
    assert 'all joints' in shown


def test_names_of_the_zoo(room, run_tool, capsys, monkeypatch):
    """Who teaches which joints, at which size, without data, weights or a network."""
    monkeypatch.setattr(torch.hub, 'download_url_to_file', None)
    mentors = [RTMPOSE.format('m'), MPII, f'{RTMPOSE.format("t")}={URL}']
    run_tool('make_classroom', RTMPOSE.format('s'), '--mentors', *mentors)
    shown = capsys.readouterr().out
    assert shown.count('is not fetched') == 3 and f'{URL} is not fetched' in shown
    rows = re.findall(r'^(\S+) +[\d.]+ M +[\d.]+ +(\d+x\d+) +(\w+)(.*)$', shown, re.MULTILINE)
    assert [row[:3] for row in rows] == [
        ('student', '192x256', 'RTMCCHead'),
        ('rtmpose-m', '192x256', 'RTMCCHead'),
        ('res50', '256x256', 'HeatmapHead'),
        ('rtmpose-t', '192x256', 'RTMCCHead'),
    ]
    assert '12 of 17 joints, heatmap 64x64 -> SimCC 384x512' in rows[2][3]
    assert 'scored by OKSRanker' in shown and "times the student's alone" in shown
    model = Config.fromfile('classroom.py').model
    assert model.mentors == [*mentors[:2], dict(config=RTMPOSE.format('t'), checkpoint=URL)]


@pytest.mark.parametrize('kind', ['pose', 'class'])
def test_a_classroom_that_is_there_is_checked(kind, room, run_tool, capsys, monkeypatch):
    """With the options of its mentors, without its data, and nothing is written."""
    ranker = dict(pose="dict(type='PCKRanker', norm='head')").get(kind)
    monkeypatch.setattr(torch.hub, 'download_url_to_file', None)
    (Path('rooms') / 'room.py').write_text(
        f"_base_ = ['../students/{kind}.py']\n"
        "model = dict(_delete_=True, type='mmkd_classroom.MultiMentorDistiller',\n"
        f"    student=_base_.model, mentors=[dict(config='students/{kind}.py', name='mine',\n"
        f"    checkpoint={URL!r}, precision='bf16'), dict(name='random', checkpoint=None,\n"
        f"    config='students/{kind}.py')],\n"
        f'    ranker={ranker})\n'
    )
    shutil.rmtree(f'{kind}_data')
    before = sorted(room.rglob('*'))
    run_tool('make_classroom', 'rooms/room.py')
    shown = capsys.readouterr().out
    assert re.search(r'^mine .* bf\w*16 +all ', shown, re.MULTILINE) and 'can be built' in shown
    assert f'{URL} is not fetched' in shown and 'mentors[1] has random weights' in shown
    assert 'WARNING' not in shown and sorted(room.rglob('*')) == before
    with pytest.raises(SystemExit, match='is a classroom already: leave --mentors'):
        run_tool('make_classroom', 'rooms/room.py', '--mentors', 'A=a.pth')
    with pytest.raises(SystemExit, match='nothing is written: leave --out and --force out'):
        run_tool('make_classroom', 'rooms/room.py', '-o', 'other.py')
    text = Path('rooms/room.py').read_text().replace('mmkd_classroom.Multi', 'Multi')
    Path('rooms/room.py').write_text(text)
    with pytest.raises(SystemExit, match="write 'mmkd_classroom.MultiMentorDistiller'"):
        run_tool('make_classroom', 'rooms/room.py')
    with pytest.raises(SystemExit, match=f'--mentors is missing.*{kind}.py is no classroom'):
        run_tool('make_classroom', f'students/{kind}.py')


def test_mentors_with_random_weights(room, run_tool, capsys):
    run_tool('make_classroom', 'students/class.py', '--mentors', 'students/class.py=None')
    (mentor,) = Config.fromfile('classroom.py').model.mentors
    assert mentor == dict(config='students/class.py', checkpoint=None)
    assert 'has random weights' in capsys.readouterr().out


def test_nothing_is_written_over(room, run_tool):
    command = ['make_classroom', 'students/class.py', '-o', 'room.py']
    command += ['--mentors', 'students/class.py=teachers/class_mentor_0.pth']
    Path('room.py').write_text('mine = 1\n')
    with pytest.raises(SystemExit, match='--out room.py is there already.*--force'):
        run_tool(*command)
    assert Path('room.py').read_text() == 'mine = 1\n'
    run_tool(*command, '--force')
    assert '_base_' in Path('room.py').read_text()


@pytest.mark.parametrize(
    'student, mentors, message',
    [
        ('students/class.py', ['teachers/class_mentor_0.pth'], 'name the mentor.s weights'),
        (
            'students/class.py',
            ['students/clas.py=a.pth', 'students/class.py=b.pth'],
            '(?s)2 things are wrong.*clas.py.*b.pth',
        ),
        ('students/class.py', ['students/class.py=teachers/pose_mentor_0.pth'], 'pose_mentor_0'),
        ('students/class.py', ['students/pose.py=teachers/pose_mentor_0.pth'], r'mentors\[0\]'),
        ('students/clas.py', ['students/class.py=teachers/class_mentor_0.pth'], "'class.py'"),
        (
            'students/room.py',
            ['students/class.py=teachers/class_mentor_0.pth'],
            'classroom already',
        ),
    ],
)
def test_what_does_not_fit_is_not_written(student, mentors, message, room, run_tool):
    write_classroom_config(Path('students/room.py'), Path('students/class.py'))
    with pytest.raises(SystemExit, match=message):
        run_tool('make_classroom', student, '--mentors', *mentors, '-o', 'rooms/new.py')
    assert list(Path('rooms').iterdir()) == []


@pytest.mark.parametrize(
    'out, message', [('no/room.py', 'no folder no'), ('room', 'ends with .py')]
)
def test_where_it_cannot_be_written(out, message, room, run_tool):
    with pytest.raises(SystemExit, match=message):
        run_tool('make_classroom', 'students/class.py', '--mentors', 'a.py=b.pth', '-o', out)
