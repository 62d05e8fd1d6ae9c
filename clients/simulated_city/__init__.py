"""A procedural city to drive through: frames with exact labels, in four domains that never change."""

from clients.simulated_city.domain_look import DomainLook
from clients.simulated_city.domains import DOMAINS
from clients.simulated_city.drive import SimulatedDrive, SimulatedFrame

__all__ = ["DOMAINS", "DomainLook", "SimulatedDrive", "SimulatedFrame"]
