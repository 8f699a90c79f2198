"""Rooted trees against the tables of Hairer, Norsett & Wanner (1993), II.2."""

from fractions import Fraction

from odenets.scheme.trees import density, exact_weight, rooted_cuts, tall, trees_of_order, vertices

DOT = (0, ())
CHERRY = (0, (DOT, DOT))


def test_number_of_trees():
    assert [len(trees_of_order(n)) for n in range(1, 11)] == [1, 1, 2, 4, 9, 20, 48, 115, 286, 719]


def test_every_tree_once_and_of_its_order():
    for n in range(1, 8):
        trees = trees_of_order(n)
        assert len(set(trees)) == len(trees)
        assert {vertices(tree) for tree in trees} == {n}


def test_densities():
    assert sorted(density(tree) for tree in trees_of_order(3)) == [3, 6]
    assert sorted(density(tree) for tree in trees_of_order(4)) == [4, 8, 12, 24]
    assert density(tall(6)) == 720
    assert exact_weight(CHERRY) == Fraction(1, 3)


def test_cuts_of_the_cherry():
    # Keep all; cut one of two equal branches; cut both.
    assert rooted_cuts(CHERRY) == {CHERRY: 1, (0, (DOT,)): 2, DOT: 1}


def test_exact_flow_composed_with_itself_is_the_flow_over_two_steps():
    # (E E)(t) = 2^|t| / gamma(t): the semigroup property, which pins every cut's weight.
    for n in range(1, 7):
        for tree in trees_of_order(n):
            twice = exact_weight(tree) + sum(w * exact_weight(rest) for rest, w in rooted_cuts(tree).items())
            assert twice == Fraction(2**n, density(tree))


def test_bicoloured_trees_of_a_partitioned_system():
    # x' = f(y), y' = g(x): the colours alternate from root to leaf, so as many trees per root colour
    # as uncoloured ones; with u' = f(u) + g(u) any vertex may have either colour.
    assert [len(trees_of_order(n, ((1, 0), (0, 1)))) for n in range(1, 6)] == [2, 2, 4, 8, 18]
    assert [len(trees_of_order(n, ((0, 0), (0, 0)))) for n in range(1, 4)] == [2, 4, 14]
