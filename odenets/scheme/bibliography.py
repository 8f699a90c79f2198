"""Where the schemes come from: key -> author, year, title."""

REFERENCES = {
    # Runge-Kutta
    "euler1768": "L. Euler (1768), Institutionum calculi integralis",
    "runge1895": "C. Runge (1895), Ueber die numerische Aufloesung von Differentialgleichungen",
    "heun1900": "K. Heun (1900), Neue Methoden zur approximativen Integration",
    "kutta1901": "W. Kutta (1901), Beitrag zur naeherungsweisen Integration totaler Differentialgleichungen",
    "ralston1962": "A. Ralston (1962), Runge-Kutta Methods with Minimum Error Bounds",
    "shu1988": "C.-W. Shu, S. Osher (1988), Efficient Implementation of Essentially Non-oscillatory "
    "Shock-Capturing Schemes",
    "kraaijevanger1991": "J. F. B. M. Kraaijevanger (1991), Contractivity of Runge-Kutta Methods",
    "spiteri2002": "R. J. Spiteri, S. J. Ruuth (2002), A New Class of Optimal High-Order "
    "Strong-Stability-Preserving Time Discretization Methods",
    "ketcheson2008": "D. I. Ketcheson (2008), Highly Efficient Strong Stability-Preserving Runge-Kutta Methods "
    "with Low-Storage Implementations",
    "fehlberg1969": "E. Fehlberg (1969), Low-Order Classical Runge-Kutta Formulas with Stepsize Control and "
    "Their Application to Some Heat Transfer Problems",
    "fehlberg1968": "E. Fehlberg (1968), Classical Fifth-, Sixth-, Seventh-, and Eighth-Order Runge-Kutta Formulas "
    "with Stepsize Control",
    "dormand1980": "J. R. Dormand, P. J. Prince (1980), A Family of Embedded Runge-Kutta Formulae",
    "bogacki1989": "P. Bogacki, L. F. Shampine (1989), A 3(2) Pair of Runge-Kutta Formulas",
    "bogacki1996": "P. Bogacki, L. F. Shampine (1996), An Efficient Runge-Kutta (4,5) Pair",
    "prince1981": "P. J. Prince, J. R. Dormand (1981), High Order Embedded Runge-Kutta Formulae",
    "cash1990": "J. R. Cash, A. H. Karp (1990), A Variable Order Runge-Kutta Method for Initial Value Problems "
    "with Rapidly Varying Right-Hand Sides",
    "hairer1993": "E. Hairer, S. P. Norsett, G. Wanner (1993), Solving Ordinary Differential Equations I: "
    "Nonstiff Problems",
    "tsitouras2011": "C. Tsitouras (2011), Runge-Kutta Pairs of Order 5(4) Satisfying Only the First Column "
    "Simplifying Assumption",
    "verner2010": "J. H. Verner (2010), Numerically Optimal Runge-Kutta Pairs with Interpolants",
    # stabilised
    "sommeijer1998": "B. P. Sommeijer, L. F. Shampine, J. G. Verwer (1998), RKC: An Explicit Solver for Parabolic PDEs",
    "abdulle2002": "A. Abdulle (2002), Fourth Order Chebyshev Methods with Recurrence Relation",
    # linearly implicit
    "sandu1997": "A. Sandu, J. G. Verwer, J. G. Blom, E. J. Spee, G. R. Carmichael, F. A. Potra (1997), Benchmarking "
    "Stiff ODE Solvers for Atmospheric Chemistry Problems II: Rosenbrock Solvers",
    "verwer1999": "J. G. Verwer, E. J. Spee, J. G. Blom, W. Hundsdorfer (1999), A Second-Order Rosenbrock Method "
    "Applied to Photochemical Dispersion Problems",
    "lang2001": "J. Lang, J. Verwer (2001), ROS3P: An Accurate Third-Order Rosenbrock Solver Designed for Parabolic "
    "Problems",
    "hairer1996": "E. Hairer, G. Wanner (1996), Solving Ordinary Differential Equations II: Stiff and "
    "Differential-Algebraic Problems",
    "steinebach2023": "G. Steinebach (2023), Construction of Rosenbrock-Wanner Method Rodas5P and Numerical Benchmarks "
    "within the Julia Differential Equations Package",
    # implicit
    "crank1947": "J. Crank, P. Nicolson (1947), A Practical Method for Numerical Evaluation of Solutions of "
    "Partial Differential Equations of the Heat-Conduction Type",
    "curtiss1952": "C. F. Curtiss, J. O. Hirschfelder (1952), Integration of Stiff Equations",
    "kuntzmann1961": "J. Kuntzmann (1961), Neuere Entwicklungen der Methode von Runge und Kutta",
    "ehle1969": "B. L. Ehle (1969), On Pade Approximations to the Exponential Function and A-Stable Methods "
    "for the Numerical Solution of Initial Value Problems",
    "chipman1971": "F. H. Chipman (1971), A-Stable Runge-Kutta Processes",
    "norsett1974": "S. P. Norsett (1974), Semi-Explicit Runge-Kutta Methods",
    "alexander1977": "R. Alexander (1977), Diagonally Implicit Runge-Kutta Methods for Stiff O.D.E.'s",
    "bank1985": "R. E. Bank, W. M. Coughran, W. Fichtner, E. H. Grosse, D. J. Rose, R. K. Smith (1985), "
    "Transient Simulation of Silicon Devices and Circuits",
    "ascher1997": "U. M. Ascher, S. J. Ruuth, R. J. Spiteri (1997), Implicit-Explicit Runge-Kutta Methods for "
    "Time-Dependent Partial Differential Equations",
    "kennedy2003": "C. A. Kennedy, M. H. Carpenter (2003), Additive Runge-Kutta Schemes for "
    "Convection-Diffusion-Reaction Equations",
    "kvaerno2004": "A. Kvaerno (2004), Singly Diagonally Implicit Runge-Kutta Methods with an Explicit First Stage",
    # multistep
    "bashforth1883": "F. Bashforth, J. C. Adams (1883), The Theories of Capillary Action",
    "nystrom1925": "E. J. Nystrom (1925), Ueber die numerische Integration von Differentialgleichungen",
    "moulton1926": "F. R. Moulton (1926), New Methods in Exterior Ballistics",
    "milne1926": "W. E. Milne (1926), Numerical Integration of Ordinary Differential Equations",
    # symplectic and reversible
    "devogelaere1956": "R. de Vogelaere (1956), Methods of Integration Which Preserve the Contact Transformation "
    "Property of the Hamilton Equations",
    "verlet1967": "L. Verlet (1967), Computer Experiments on Classical Fluids I: Thermodynamical Properties of "
    "Lennard-Jones Molecules",
    "yoshida1990": "H. Yoshida (1990), Construction of Higher Order Symplectic Integrators",
    "chang2018": "B. Chang et al. (2018), Reversible Architectures for Arbitrarily Deep Residual Neural Networks",
    "kidger2021": "P. Kidger, J. Foster, X. Li, T. Lyons (2021), Efficient and Accurate Gradients for Neural SDEs",
    "mali2021": "J. Zhuang, N. C. Dvornek, S. Tatikonda, J. S. Duncan (2021), MALI: A Memory Efficient and "
    "Reverse Accurate Integrator for Neural ODEs",
    "sander2021": "M. E. Sander, P. Ablin, M. Blondel, G. Peyre (2021), Momentum Residual Neural Networks",
    "mccallum2024": "S. McCallum, J. Foster (2024), Efficient, Accurate and Stable Gradients for Neural ODEs",
    # networks
    "fractalnet2017": "G. Larsson, M. Maire, G. Shakhnarovich (2017), FractalNet: Ultra-Deep Neural Networks "
    "without Residuals",
    "polynet2017": "X. Zhang, Z. Li, C. C. Loy, D. Lin (2017), PolyNet: A Pursuit of Structural Diversity in "
    "Very Deep Networks",
    "lu2018": "Y. Lu, A. Zhong, Q. Li, B. Dong (2018), Beyond Finite Layer Neural Networks",
    "inresnet2020": "Z. Yang, Y. Liu, C. Bao, Z. Shi (2020), Interpolation between Residual and Non-Residual Networks",
    "odetransformer2022": "B. Li, Q. Du, T. Zhou et al. (2022), ODE Transformer: An Ordinary Differential "
    "Equation-Inspired Model for Sequence Generation",
    "zerosnet2022": "L. Chen, L. Jin, M. Shang (2022), Zero Stability Well Predicts Performance of "
    "Convolutional Neural Networks",
}


def cite(reference: str) -> str:
    """The full reference behind a key; free text is returned as it is."""
    return REFERENCES.get(reference, reference)
