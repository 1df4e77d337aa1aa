"""Layers whose division has become constant do without a division module at inference (GRM, appendix C.2)."""
