"""What every forked command needs, imported once."""

import adaptation.publishing.release_commands
import adaptation.service.commands
import adaptation.service.fake_worker
import cli
import server.cli
import server.gateway.kserve_servicer

__all__ = ["adaptation", "cli", "server"]
