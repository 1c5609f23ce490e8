"""Records to pages a person reads; needs no torch."""

from glasshouse.report.card import model_card as model_card
from glasshouse.report.ladder import render_ladder as render_ladder
from glasshouse.report.page import render_run as render_run
