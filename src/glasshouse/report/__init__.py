"""Records to pages a person reads; needs no torch."""

from glasshouse.report.card import card_data as card_data
from glasshouse.report.card import model_card as model_card
from glasshouse.report.page import render_run as render_run
