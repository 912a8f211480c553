"""Two fits, on data sets that come in the wheel."""
import statsmodels.api as sm
from statsmodels.tsa.arima.model import ARIMA

data = sm.datasets.longley.load_pandas()
fit = sm.OLS(data.endog, sm.add_constant(data.exog)).fit()
print(fit.params.round(3).to_dict(), round(fit.rsquared, 6))
nile = sm.datasets.nile.load_pandas().data["volume"]
print(ARIMA(nile, order=(1, 0, 0)).fit().params.round(1).to_dict())
