"""Places and flows: what a path names, and who is the first of those who wait together."""

from gaproxy.throttle.places import Flow, Place, names_of


def test_a_path_names_each_limiter_once_in_its_order():
    assert names_of((("b", 1), ("a", 2), ("b", 1))) == ("b", "a")
    assert names_of(()) == ()


def test_places_are_told_apart_even_where_all_is_the_same():
    assert Place("a", (), 0, 1) != Place("a", (), 0, 1)


def test_the_first_of_a_flow_is_the_one_that_came_first_of_those_who_are_left():
    flow = Flow("a", ("l",))
    first, second = (Place("a", (("l", 1),), 0, number) for number in (1, 2))
    flow.places[first] = flow.places[second] = None
    assert (flow.first, flow.number) == (first, 1)
    del flow.places[first]
    assert (flow.first, flow.number) == (second, 2)
