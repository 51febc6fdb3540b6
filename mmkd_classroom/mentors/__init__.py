"""Frozen mentors and the bank that holds them."""

from .bank import MentorBank
from .mentor import Mentor, build_mentor
from .view import Normalisation, View

__all__ = ['Mentor', 'MentorBank', 'Normalisation', 'View', 'build_mentor']
