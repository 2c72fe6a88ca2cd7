// The form that signs in with email and password.
import { html, useState } from './ui.js';

export function SignIn({ session }) {
  const [fault, setFault] = useState(null);
  const [isBusy, setBusy] = useState(false);

  async function submit(event) {
    event.preventDefault();
    if (isBusy) return;
    const { email, password } = event.target.elements;
    setBusy(true);
    setFault(null);
    try {
      await session.signIn(email.value.trim(), password.value);
    } catch (error) {
      setFault(error.message);
      setBusy(false);
    }
  }

  const said = fault ?? session.reason;
  return html`<section class="card narrow" aria-labelledby="sign-in">
    <h2 id="sign-in">Sign in</h2>
    <p class="lead">With the account that you have for your agency’s dashboard.</p>
    <form onSubmit=${submit}>
      <label>Email <input name="email" type="email" autocomplete="username" required /></label>
      <label>Password <input name="password" type="password" autocomplete="current-password" required /></label>
      ${said && html`<div class="alert" role="alert"><p>${said}</p></div>`}
      <div class="actions"><button class="primary" type="submit" aria-disabled=${isBusy}>${isBusy ? 'Signing in…' : 'Sign in'}</button></div>
    </form>
  </section>`;
}
