"""People label the image regions that teach most (RIPU, Xie et al., CVPR 2022): asked, leased, answered, used."""
