// The chat: a panel beside the call, a sheet over it on a phone. It shows what
// was said since we came. What others typed is put in as text, never as markup.

const longest = 4_000; // characters of a message that are shown
const kept = 500; // messages

export class Chat {
  #panel;
  #button;
  #list;
  #input;
  #say;
  #unread = 0;

  /** say(text) resolves to whether it was said. */
  constructor(panel, button, say) {
    this.#panel = panel;
    this.#button = button;
    this.#list = panel.querySelector("ol");
    this.#input = panel.querySelector("input");
    this.#say = say;
    panel.querySelector("form").addEventListener("submit", (event) => this.#submit(event));
    panel.querySelector("[data-close]").addEventListener("click", () => this.toggle(false));
    panel.addEventListener("keydown", (event) => event.key === "Escape" && this.toggle(false));
    button.addEventListener("click", () => this.toggle());
    this.clear();
  }

  toggle(open = this.#panel.hidden) {
    this.#panel.hidden = !open;
    this.#button.setAttribute("aria-pressed", open);
    if (open) {
      this.#mark(0);
      this.#list.scrollTop = this.#list.scrollHeight;
      this.#input.focus();
    } else {
      this.#button.focus();
    }
  }

  clear() {
    this.#list.replaceChildren();
    this.#input.value = "";
    this.#panel.hidden = true;
    this.#button.setAttribute("aria-pressed", false);
    this.#mark(0);
  }

  allow(may) {
    this.#input.readOnly = this.#panel.querySelector("form button").disabled = !may; // who is writing keeps the focus
    this.#input.placeholder = may ? "Write to everyone" : "The host does not let you write";
  }

  /** Shows what somebody said. */
  add(name, text, { self = false } = {}) {
    const item = document.createElement("li");
    item.classList.toggle("own", self);
    const who = document.createElement("b");
    who.textContent = self ? "You" : name;
    const when = document.createElement("time");
    when.textContent = new Date().toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
    const what = document.createElement("p");
    what.textContent = text.slice(0, longest);
    item.append(who, when, what);
    this.#append(item);
    if (this.#panel.hidden && !self) this.#mark(this.#unread + 1);
  }

  /** Shows what happened, between what was said. */
  remark(text) {
    const item = document.createElement("li");
    item.className = "remark";
    item.textContent = text;
    this.#append(item);
  }

  #append(item) {
    const list = this.#list;
    const atEnd = list.scrollHeight - list.scrollTop - list.clientHeight < 60;
    list.append(item);
    if (list.childElementCount > kept) list.firstElementChild.remove();
    if (atEnd) list.scrollTop = list.scrollHeight;
  }

  async #submit(event) {
    event.preventDefault();
    const text = this.#input.value.trim();
    if (!text) return;
    this.#input.value = "";
    if (!(await this.#say(text)) && !this.#input.value) this.#input.value = text; // nothing is lost
  }

  #mark(unread) {
    this.#unread = unread;
    this.#button.querySelector(".badge").textContent = unread > 9 ? "9+" : unread || "";
    this.#button.setAttribute("aria-label", unread ? `Chat, ${unread} unread` : "Chat");
  }
}
