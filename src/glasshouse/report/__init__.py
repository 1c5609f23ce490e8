"""Records to pages a person reads; needs no torch."""

from glasshouse.report.card import card_data as card_data
from glasshouse.report.card import model_card as model_card
from glasshouse.report.ladder import render_ladder as render_ladder
from glasshouse.report.page import render_run as render_run
from glasshouse.report.pairs import Paired as Paired
from glasshouse.report.pairs import pair_runs as pair_runs
from glasshouse.report.pairs import stages_of as stages_of
