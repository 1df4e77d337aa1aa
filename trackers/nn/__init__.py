"""What trackers are made of.

Shape legend of the package: B batch, K templates, N tokens, Nz/Nx template/search tokens, D width, H heads, d width
of a head, L layers, C categories.
"""
