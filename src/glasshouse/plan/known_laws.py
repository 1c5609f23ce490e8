"""Scaling laws known before anything is trained, with their intervals and origins.

CHINCHILLA is of large models: the constants that arXiv:2404.10102 corrected arXiv:2203.15556's to.  Its draws are 25
bootstrap refits, by this project's own fit, of the 240 trainings that the correction read off the paper's figure 4; on
all of them that fit gives E 1.817, A 478, alpha 0.347, B 2143, beta 0.367.
SMALL is of models of 0.1 to 2 M parameters; see its origin.
"""

from glasshouse.plan.scaling import ScalingFit, ScalingLaw

# E, A, alpha, B, beta of each refit
CHINCHILLA_DRAWS = (
    (1.8231, 523.87, 0.3526, 2090.7, 0.3660),
    (1.8061, 402.20, 0.3367, 2348.2, 0.3719),
    (1.8295, 534.45, 0.3543, 2229.5, 0.3690),
    (1.7811, 563.67, 0.3563, 1021.5, 0.3310),
    (1.7994, 357.33, 0.3289, 2648.6, 0.3782),
    (1.8001, 403.84, 0.3378, 2098.0, 0.3655),
    (1.8214, 585.70, 0.3600, 1627.7, 0.3534),
    (1.8321, 417.30, 0.3384, 3971.4, 0.3975),
    (1.8500, 540.90, 0.3549, 2929.6, 0.3830),
    (1.8004, 414.45, 0.3385, 2041.0, 0.3649),
    (1.8221, 415.82, 0.3384, 3492.2, 0.3908),
    (1.8208, 679.90, 0.3684, 1445.1, 0.3474),
    (1.8548, 355.06, 0.3296, 9901.3, 0.4404),
    (1.8214, 540.28, 0.3543, 2015.4, 0.3641),
    (1.8506, 507.13, 0.3521, 3558.3, 0.3907),
    (1.8399, 592.29, 0.3608, 2486.7, 0.3735),
    (1.8299, 493.28, 0.3488, 2675.0, 0.3783),
    (1.8370, 610.77, 0.3608, 2439.9, 0.3739),
    (1.7910, 420.07, 0.3395, 1793.6, 0.3579),
    (1.7988, 404.70, 0.3372, 2012.4, 0.3642),
    (1.7652, 291.41, 0.3177, 1834.7, 0.3598),
    (1.8458, 706.79, 0.3705, 1988.9, 0.3637),
    (1.8087, 325.74, 0.3247, 4115.9, 0.3980),
    (1.8223, 379.58, 0.3337, 3344.3, 0.3890),
    (1.7929, 429.98, 0.3403, 1848.5, 0.3598),
)

CHINCHILLA = ScalingFit(
    ScalingLaw(e=1.8172, a=482.01, alpha=0.3478, b=2085.43, beta=0.3658),
    unit="nats/token",
    origin="arXiv:2404.10102, from the trainings of Chinchilla: 0.06 to 16 G parameters, MassiveText, 32 k tokens",
    draws=tuple(ScalingLaw(e, a, alpha, b, beta) for e, a, alpha, b, beta in CHINCHILLA_DRAWS),
    misses=(-0.009, -0.0046, -0.0032, -0.002, -0.0005, 0.0005, 0.0017, 0.0034, 0.0049, 0.0119),  # deciles of the 240
)

SMALL = ScalingFit(
    ScalingLaw(e=0.17, a=33.0, alpha=0.35, b=157.0, beta=0.35),
    unit="bits/byte",
    origin="this project's first trainings on the standard library, fitted by hand and without intervals",
)
