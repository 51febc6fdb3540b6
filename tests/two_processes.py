"""Run a function in two processes that are joined by gloo."""

import os
import socket

import torch


def run(work, folder):
    """Return what ``work(rank, folder)`` returns in each of the two processes.

    They are forks of this one, which has imported all packages already.
    """
    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        port = free.getsockname()[1]
    torch.multiprocessing.start_processes(
        _joined, (port, work, folder), nprocs=2, start_method='fork'
    )
    return [torch.load(folder / f'{rank}.pth') for rank in range(2)]


def _joined(rank, port, work, folder):
    torch.set_num_threads(1)
    os.environ.update(
        MASTER_ADDR='127.0.0.1', MASTER_PORT=str(port), RANK=str(rank), LOCAL_RANK=str(rank),
        WORLD_SIZE='2',
    )  # fmt: skip
    torch.distributed.init_process_group('gloo')
    torch.save(work(rank, folder), folder / f'{rank}.pth')
    torch.distributed.destroy_process_group()
