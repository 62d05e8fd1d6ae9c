"""A procedural city to drive through: frames with exact labels, in four domains that never change."""

from clients.simulation.city.domain_look import DomainLook
from clients.simulation.city.domains import DOMAINS
from clients.simulation.city.drive import SimulatedDrive, SimulatedFrame

__all__ = ["DOMAINS", "DomainLook", "SimulatedDrive", "SimulatedFrame"]
