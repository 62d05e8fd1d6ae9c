"""What every forked command needs, imported once."""

import adaptation.cli.learner_commands
import adaptation.cli.release_commands
import adaptation.control.rounds.fake_worker
import cli
import server.cli
import server.gateway.kserve_servicer

__all__ = ["adaptation", "cli", "server"]
