"""Labelled data sets that a job names."""

from adaptation.learning.data.data_choice import DataChoice, choose_data
from exchange.jobs.job import Source


def chosen_sources(sources: tuple[Source, ...]) -> list[DataChoice]:
    """What is learnt from. Raises DataError where a folder is no data set."""
    return [choice for source in sources for choice in choose_data([source.folder], source.split)]


def held_out_sources(sources: tuple[Source, ...]) -> list[DataChoice]:
    """What the gate scores on. Raises DataError where a folder is no data set."""
    return [choice for source in sources for choice in choose_data([source.folder], source.held_out)]
