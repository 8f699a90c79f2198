"""The page in the browser: entries, address, keys, pointers, files."""

import re

import numpy as np
import pytest
from explorer.asked import ADDRESS, KUTTA38, OWN, REFUSED


def test_a_scheme_of_ones_own(browser):
    for (_, expected), (said, refused) in zip(OWN, browser["own"], strict=True):
        assert expected in said
        assert refused == (said in [text for text, _ in browser["own"][:REFUSED]])
    assert all(refused for _, refused in browser["own"][:REFUSED])
    heads = ["scheme", "kind", "stages", "steps", "starting", "order", "error constant"]
    told = ["own", "explicit Runge-Kutta", "4", "1", "0", "4", "1/120"]
    assert browser["table"][: len(heads)] == told
    assert browser["linked"] == KUTTA38


def test_the_address_is_restored(browser):
    found = browser["address"]
    assert found["chosen"] == ["lm", "ab3"]
    assert found["values"] == {"lm": {"k": -0.5}}
    assert found["view"] == {"x": -1, "y": 0.5, "half": 2.5}
    assert found["z"] == [-0.25, 0.75]
    assert found["star"] is True
    assert found["steps"] == 33
    assert found["orbit"] == {"problem": "pendulum", "h": 0.25, "steps": 40, "start": [1, -0.5]}
    assert set(found["written"][1:].split("&")) == set(ADDRESS[1:].split("&"))
    wrong = "; ".join(browser["wrong"])
    assert "o: got pendulum,0,9,1,1, expected a problem" in wrong
    for expected in ("s: got nothing, expected", "z: got 1,x, expected 2 finite", "v: got 0,0,-1, expected 3"):
        assert expected in wrong


def test_the_address_is_kept(browser):
    kept, wanted = browser["kept"]
    assert kept == wanted
    for part in ("lm.k=2.25", "layer=2&h=0.25", "z=2,0", "own.b=1/8", "v=2,0,4"):
        assert part in kept.replace("+", " ")


def test_a_pointer(browser):
    np.testing.assert_allclose(browser["hovered"], [2, 2], atol=0.05)
    view, z = browser["dragged"]
    np.testing.assert_allclose([view["x"], view["y"], view["half"]], [2, 0, 4], atol=0.05)
    assert z == browser["hovered"]
    np.testing.assert_allclose(browser["tapped"], [2, 0], atol=0.05)


def test_keys_and_sliders(browser):
    keys, before = browser["keys"], browser["keys"]["before"]
    np.testing.assert_allclose(np.subtract(keys["z"], before["z"]), [0.05, 0])
    assert keys["view"]["y"] - before["view"]["y"] == pytest.approx(0.5)
    assert keys["view"]["half"] == pytest.approx(2)
    assert browser["slider"]["k"] == 0.25
    assert "Lost where k falls to \u22121, or k grows beyond 1." in browser["slider"]["verdict"]
    assert browser["lost"].startswith("Not zero-stable")
    assert browser["wide"] <= 0  # nothing is cut on a narrow screen


def test_a_trained_network_over_the_regions(browser):
    said, refused = browser["refused"]
    assert refused
    assert "got JSON without spectra of layers, expected that of odenets diagnose --json" in said
    # The first layer is the starting step, and has no k; the slider reaches as far as the third layer's k.
    assert [layer["k"] for layer in browser["layers"][1:]] == [-0.5, 2.25]
    assert browser["layers"][2]["shown"] == "2.25"
    # Of -0.2 ± 1.5i rk4 is stable; the textbook's roots of zeta^2 = (1 - k + z) zeta + k say that lm is not.
    assert max(abs(np.roots([1, -(1.5 - 0.2 + 1.5j), 0.5]))) > 1
    said = browser["layers"][1]["said"]
    assert said.startswith("layer 1: lm, k = \u22120.5000, h = 1; ")
    assert re.search(r"(\d+) eigenvalues\. lm: \1 outside, \1 of them where the flow does not grow", said)
    assert "rk4: 0 outside, 0 of them" in said
    assert "h = 1 times 0.25" in browser["smaller"]


def test_the_orbits_on_the_page(browser):
    assert "own" in browser["shown"]["equations"]
    assert "lm, k = 1.25" in browser["shown"]["equations"]
    orbit = browser["orbit"]
    assert orbit["kept"] == "lotka-volterra,0.2,30,4,2"
    assert "Got lotka-volterra,0.2,30,-1,2, expected u and v from 0.01 to 20" in orbit["refused"]
    start, pressed = orbit["pressed"]
    np.testing.assert_allclose(start, pressed, atol=0.05)  # a pixel
    assert "o=lotka-volterra,0.2,30," in browser["kept"][0]


def test_a_diagnosis_is_dropped(browser):
    """Both drops are the page's, the first is refused, the second opened: see the layers above."""
    assert browser["dropped"] == [True, True, False, False]


def test_two_fingers(browser):
    half, z = browser["pinched"]
    assert half == pytest.approx(2)
    assert z == browser["tapped"]
