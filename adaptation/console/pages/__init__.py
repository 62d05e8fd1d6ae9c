"""The pages: how the views look, and which handler of the learner's an order goes to."""

from adaptation.console.backstage import Backstage
from adaptation.console.pages.audit_page import add_audit_page
from adaptation.console.pages.frame_page import add_frame_page
from adaptation.console.pages.frames_page import add_frames_page
from adaptation.console.pages.label_page import add_label_page
from adaptation.console.pages.labels_page import add_labels_page
from adaptation.console.pages.missing import add_missing_page
from adaptation.console.pages.now_page import add_now_page
from adaptation.console.pages.prior_page import add_prior_page
from adaptation.console.pages.releases_page import add_releases_page
from adaptation.console.pages.report_page import add_report_page
from adaptation.console.pages.round_page import add_round_page
from adaptation.console.pages.rounds_page import add_rounds_page


def add_pages(backstage: Backstage) -> None:
    for add in (
        add_now_page,
        add_frames_page,
        add_frame_page,
        add_rounds_page,
        add_round_page,
        add_report_page,
        add_releases_page,
        add_prior_page,
        add_labels_page,
        add_label_page,
        add_audit_page,
    ):
        add(backstage)
    add_missing_page()
