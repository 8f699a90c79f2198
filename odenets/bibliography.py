"""Where the schemes come from: key -> author, year, title."""

REFERENCES = {
    "euler1768": "L. Euler (1768), Institutionum calculi integralis",
    "runge1895": "C. Runge (1895), Ueber die numerische Aufloesung von Differentialgleichungen",
    "heun1900": "K. Heun (1900), Neue Methoden zur approximativen Integration",
    "kutta1901": "W. Kutta (1901), Beitrag zur naeherungsweisen Integration totaler Differentialgleichungen",
    "bashforth1883": "F. Bashforth, J. C. Adams (1883), The Theories of Capillary Action",
    "chang2018": "B. Chang et al. (2018), Reversible Architectures for Arbitrarily Deep Residual Neural Networks",
    "lu2018": "Y. Lu, A. Zhong, Q. Li, B. Dong (2018), Beyond Finite Layer Neural Networks",
    "sander2021": "M. E. Sander, P. Ablin, M. Blondel, G. Peyre (2021), Momentum Residual Neural Networks",
    "zerosnet2022": "L. Chen, L. Jin, M. Shang (2022), Zero Stability Well Predicts Performance of "
    "Convolutional Neural Networks",
}


def cite(reference: str) -> str:
    """The full reference behind a key; free text is returned as it is."""
    return REFERENCES.get(reference, reference)
