from hypothesis import given
from hypothesis import strategies as st

from gateway.commands import ReplyHeard
from gateway.events import AgentSaid
from gateway.words import MAX_CHARACTERS, ReplyWords, join_words


def delta(text: str, start_ms: int | None = None, end_ms: int | None = None) -> AgentSaid:
    return AgentSaid("r1", text, final=False, start_ms=start_ms, end_ms=end_ms)


def final(text: str, interrupted: bool = False) -> AgentSaid:
    return AgentSaid("r1", text, final=True, interrupted=interrupted)


def words(*said: AgentSaid) -> ReplyWords:
    reply = ReplyWords()
    for one in said:
        reply.add(one)
    return reply


def heard(heard_ms: float, cut_ms: float, audible_from_ms: float | None = 0.0) -> ReplyHeard:
    return ReplyHeard("r1", heard_ms, heard_ms, cut_ms, True, cut_ms > 0, audible_from_ms)


TIMED = (delta("We", 500, 700), delta("open", 700, 1000), delta("at", 1000, 1100), delta("nine.", 1100, 1500))


def test_greeting_words_without_spaces_and_model_words_with_them_join_alike() -> None:
    """A space is inserted only when neither side has one."""
    assert words(delta("Hello,"), delta("how"), delta("are you")).text == "Hello, how are you"
    assert words(delta("Hello, "), delta("how "), delta(" are")).text == "Hello, how  are"
    assert join_words("", "Hi") == "Hi"


def test_words_with_times_are_cut_where_the_sound_stopped() -> None:
    """A word counts as heard when at least half of it was."""
    reply = words(*TIMED)
    assert reply.timed
    assert reply.split(850, 1500) == ("We open", " at nine.")
    assert reply.split(849, 1500) == ("We", " open at nine.")
    assert reply.split(1500, 1500) == ("We open at nine.", "")
    assert reply.split(0, 1500) == ("", "We open at nine.")


def test_times_tell_more_than_the_audio_that_arrived() -> None:
    """All the sound that came was heard, and the words whose sound never came are unheard."""
    assert words(*TIMED, final("We open", interrupted=True)).split(1000, 1000) == ("We open", " at nine.")


def test_times_of_the_deltas_serve_a_final_text_that_writes_the_same_words_otherwise() -> None:
    """Figures for words change the text, not the place of the cut."""
    assert words(*TIMED, final("We open at 9.")).split(900, 1500) == ("We open", " at 9.")


def test_a_finished_reply_that_was_heard_to_its_end_has_no_unheard_words() -> None:
    """The agent's times may point past the end of its audio."""
    assert words(*TIMED, final("We open at nine.")).split(1200, 1200) == ("We open at nine.", "")


def test_without_times_the_text_is_cut_in_proportion_to_the_audible_sound() -> None:
    """Leading digital silence holds no words, and only whole words are heard."""
    reply = words(final("one two three four"))
    assert not reply.timed
    assert reply.split(500, 1000) == ("one two", " three four")
    assert reply.split(1500, 2000, audible_from_ms=1000) == ("one two", " three four")
    assert reply.split(900, 2000, audible_from_ms=1000) == ("", "one two three four")


def test_an_interrupted_text_without_times_leaves_the_untold_rest_unheard() -> None:
    """The audio that arrived belongs to the trimmed text, the deltas tell what was composed."""
    reply = words(delta("one two three four"), final("one two", interrupted=True))
    assert reply.text == "one two three four"
    assert reply.split(1000, 1000) == ("one two", " three four")
    assert reply.split(500, 1000) == ("one", " two three four")


def test_deltas_stand_in_for_a_missing_final_text() -> None:
    """Some tool turns bring no final text at all."""
    assert words(delta("Still"), delta("here.")).split(100, 100) == ("Still here.", "")


def test_a_reply_that_was_never_audible_is_unheard() -> None:
    """Silent replies are merged into the next one, and their text arrives all the same."""
    reply = words(final("never spoken"))
    assert reply.split_by(heard(3000, 0, None)) == ("", "never spoken")
    assert reply.split_by(heard(3000, 0)) == ("never spoken", "")
    assert reply.split_by(heard(1000, 1000)) == ("never", " spoken")


def test_an_endless_reply_is_bounded() -> None:
    """An agent that never stops sending words fills no memory."""
    reply = words(*(delta("word" * 100) for _ in range(100)))
    assert MAX_CHARACTERS - 500 < len(reply.text) <= MAX_CHARACTERS


SAID = st.builds(
    AgentSaid,
    reply_id=st.just("r1"),
    text=st.text("ab ,\n", max_size=12),
    final=st.booleans(),
    interrupted=st.booleans(),
    start_ms=st.none() | st.integers(-10, 5000),
    end_ms=st.none() | st.integers(-10, 5000),
)
MS = st.floats(-100, 6000)


@given(st.lists(SAID, max_size=12), MS, MS, st.floats(0, 3000))
def test_the_halves_always_add_up_to_the_whole(
    said: list[AgentSaid], heard_ms: float, total_ms: float, audible_from_ms: float
) -> None:
    """Whatever an agent sends, no word is lost, invented or in both halves, and words are not torn."""
    reply = words(*said)
    first, second = reply.split(heard_ms, total_ms, audible_from_ms)
    assert first + second == reply.text
    assert first.split() + second.split() == reply.text.split()


@given(st.lists(SAID, max_size=12), MS, MS, MS)
def test_who_listens_longer_has_heard_no_less(
    said: list[AgentSaid], less_ms: float, more_ms: float, total_ms: float
) -> None:
    """What was heard only grows with the time that was listened."""
    reply = words(*said)
    less, more = sorted((less_ms, more_ms))
    assert reply.split(more, total_ms)[0].startswith(reply.split(less, total_ms)[0])
