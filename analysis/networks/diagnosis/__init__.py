"""The numerical diagnosis of a trained residual network: spectra of its layers under its scheme."""

from .diagnose import diagnose
from .diagnosis import Diagnosis
from .records import Alternative, Amplification, BlockDiagnosis, ModifiedTerm, StageDiagnosis
from .spectrum import Spectrum

__all__ = [
    "Alternative",
    "Amplification",
    "BlockDiagnosis",
    "Diagnosis",
    "ModifiedTerm",
    "Spectrum",
    "StageDiagnosis",
    "diagnose",
]
