"""Google's SDK for Python as a client of all three kinds of providers."""

from common import BASE, KEY, ODD, THINKERS, THOUGHT, each, run
from google import genai
from google.genai import errors, types

CLIENT = genai.Client(api_key=KEY, http_options=types.HttpOptions(base_url=BASE))
MODELS = list(THINKERS.values())
PARAMETERS = types.Schema(type="OBJECT", properties={"city": types.Schema(type="STRING")})
TOOL = types.Tool(function_declarations=[types.FunctionDeclaration(name="get_weather", parameters=PARAMETERS)])


def ask(model, contents, **config):
    return CLIENT.models.generate_content(
        model=model, contents=contents, config=types.GenerateContentConfig(**config)
    )


@each(MODELS)
def answers_at_once(model):
    answer = ask(model, ODD, system_instruction="Be brief.", temperature=1, max_output_tokens=9000)
    assert answer.text == f"You said: {ODD}", answer.text
    assert answer.model_version == model, answer.model_version
    usage = answer.usage_metadata
    thoughts = usage.thoughts_token_count or 0
    assert usage.total_token_count == usage.prompt_token_count + usage.candidates_token_count + thoughts, usage


@each(MODELS)
def answers_streamed(model):
    chunks = list(CLIENT.models.generate_content_stream(model=model, contents=ODD))
    assert "".join(chunk.text or "" for chunk in chunks) == f"You said: {ODD}"
    assert [chunk.candidates[0].finish_reason for chunk in chunks][-1] == types.FinishReason.STOP
    assert chunks[-1].usage_metadata.candidates_token_count > 0


@each(MODELS)
def thoughts_and_calls_come_back(model):
    thinking = types.ThinkingConfig(include_thoughts=True, thinking_budget=4096)
    first = ask(model, "Weather?", thinking_config=thinking, tools=[TOOL])
    parts = first.candidates[0].content.parts
    assert "".join(part.text for part in parts if part.thought) == THOUGHT, parts
    [call] = first.function_calls
    assert (call.name, call.args) == ("get_weather", {"city": "demo"}) and call.id, call
    user = types.Content(role="user", parts=[types.Part(text="Weather?")])
    result = types.Part.from_function_response(name="get_weather", response={"result": "sunny"})
    history = [user, first.candidates[0].content, types.Content(role="user", parts=[result])]
    assert ask(model, history, thinking_config=thinking, tools=[TOOL]).text == "The tool answered: sunny"


@each(MODELS)
def functions_are_called_by_themselves(model):
    def weather(city: str) -> str:
        """Tells the weather of a city."""
        return f"rainy in {city}"

    chat = CLIENT.chats.create(model=model, config=types.GenerateContentConfig(tools=[weather]))
    assert chat.send_message("Weather?").text == "The tool answered: rainy in demo"


@each(MODELS)
def chats_go_on(model):
    chat = CLIENT.chats.create(model=model)
    assert "".join(chunk.text or "" for chunk in chat.send_message_stream("one")) == "You said: one"
    assert chat.send_message("two").text == "You said: two"


@each(MODELS)
def answers_have_a_form(model):
    schema = {"type": "OBJECT", "properties": {"city": {"type": "STRING"}}, "required": ["city"]}
    answer = ask(model, "form", response_mime_type="application/json", response_schema=schema)
    assert answer.parsed == {"city": "demo"}, answer.text


@each(MODELS)
def tokens_are_counted(model):
    assert CLIENT.models.count_tokens(model=model, contents="How many?").total_tokens > 0


@each(MODELS)
def failures_are_raised(model):
    for said, code in [("[demo:status=429]", 429), ("[demo:status=500]", 502), ("[demo:status=400]", 400)]:
        try:
            ask(model, said)
        except errors.APIError as error:
            assert error.code == code, error
        else:
            raise AssertionError(said)
    try:
        list(CLIENT.models.generate_content_stream(model=model, contents="[demo:error=2] one two three"))
    except errors.APIError as error:
        assert error.code in (502, 503), error
    else:
        raise AssertionError("a failure in the middle was not raised")


@each(MODELS)
def models_are_listed(model):
    names = [listed.name for listed in CLIENT.models.list()]
    assert "models/demo/chat" in names, names
    assert CLIENT.models.get(model=model).name == f"models/{model}"


run(f"python google {genai.__version__}")
