"""What people of the demo write: Portuguese with its accents, emoji, short and very long.

``demo_story`` deals them out. All of it is invented.
"""

import random

#: Characters of the long texts; the adopting product allows no more in one message.
LONG_CHARS = 4_000

SENTENCES = (
    "Bom dia! Seu pedido já saiu para entrega 🚚",
    "A reunião de amanhã foi remarcada para as 15h, tudo bem?",
    "Não se preocupe, o reembolso cai até sexta-feira.",
    "Você prefere retirar na loja ou receber em casa? 🏠",
    "Olá, tudo bem? Aqui é da central de atendimento.",
    "Segue a confirmação: código nº 4821, às 9h30.",
    "Desculpe a demora, o sistema ficou fora do ar 😅",
    "Amanhã não abrimos: é feriado municipal.",
    "Parabéns pelo aniversário! 🎉🎂 Há um cupom de 10 % à sua espera.",
    "Por favor, confirme o endereço: Rua das Acácias, nº 12, São João del-Rei.",
    "O técnico chega entre 14h e 16h; é só deixar o portão aberto.",
    "Ação concluída ✅ — obrigado pela paciência!",
    "Conseguimos adiantar a sua consulta para terça-feira.",
    "É possível parcelar em até 3 vezes sem juros.",
    "Última chamada para a promoção de inverno ❄️☕",
    "Já enviei o orçamento; qualquer dúvida, é só chamar.",
)
REPLIES = ("Perfeito, combinado!", "Isso mesmo, até lá.", "Sobre isto: já está resolvido 👍", "Não, ainda não chegou.")
CAPTIONS = ("Veja como ficou 📷", "Comprovante em anexo", "Catálogo da estação — página 3", "")
#: What others wrote first.
GREETINGS = (
    "Bom dia! Vocês ainda têm o produto em estoque?",
    "Olá, gostaria de saber o prazo de entrega.",
    "Oi, tudo bem? Meu pedido ainda não chegou.",
    "Boa tarde! Como faço para remarcar?",
    "Vocês abrem no sábado?",
    "Podem me mandar o orçamento por aqui?",
    "Obrigada pelo atendimento ontem!",
)
#: Said more than once in a conversation, word for word: a search for what was sent must tell the two apart.
REPEATED = "ok 👍"


def a_sentence(draw: random.Random, *, tail: str = "") -> str:
    """One sentence; ``tail`` keeps it apart from the others of its conversation."""
    return f"{draw.choice(SENTENCES)}{tail}"


def a_long_text(draw: random.Random) -> str:
    """Exactly ``LONG_CHARS`` characters; it begins and ends with something visible."""
    text = ""
    while len(text) < LONG_CHARS:
        text += f"{draw.choice(SENTENCES)}\n"
    return text[: LONG_CHARS - 1] + "."
